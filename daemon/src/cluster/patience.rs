//! Requests of a typed client, made again where that can't do harm: the client itself repeats nothing.

use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// 0.25 s doubled up to 8 s: a minute in all, as long as an API server takes to be started again.
const TRIES: u32 = 12;

/// Makes a request again that changes nothing, or the same thing each time, for as long as the API server can't answer it.
pub async fn until_answered<T, F: Future<Output = kube::Result<T>>>(
    request: impl Fn() -> F,
) -> kube::Result<T> {
    again(request, |error| match error {
        kube::Error::Api(status) => status.code == 429 || status.code >= 500,
        // The connection, one way or another.
        kube::Error::Service(_) | kube::Error::HyperError(_) => true,
        _ => false,
    })
    .await
}

/// Makes a request again that the API server has refused to look at for now.
pub async fn until_admitted<T, F: Future<Output = kube::Result<T>>>(
    request: impl Fn() -> F,
) -> kube::Result<T> {
    again(request, |error| matches!(error, kube::Error::Api(status) if status.code == 429)).await
}

async fn again<T, F: Future<Output = kube::Result<T>>>(
    request: impl Fn() -> F,
    may_pass: impl Fn(&kube::Error) -> bool,
) -> kube::Result<T> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        match request().await {
            Err(error) if may_pass(&error) => tokio::time::sleep(pause).await,
            answer => return answer,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    request().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn refusal(code: u16) -> kube::Error {
        kube::Error::Api(Box::new(kube::core::Status { code, ..Default::default() }))
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_again_and_what_may_not_is_told_at_once() {
        for (code, tries) in [(404, 1), (409, 1)] {
            let made = Cell::new(0);
            let answer: kube::Result<()> = until_answered(async || {
                made.set(made.get() + 1);
                Err(refusal(code))
            })
            .await;
            assert!(answer.is_err());
            assert_eq!(made.get(), tries, "{code}");
        }
        let made = Cell::new(0);
        let answer = until_admitted(async || {
            made.set(made.get() + 1);
            if made.get() < 2 { Err(refusal(429)) } else { Ok(made.get()) }
        })
        .await;
        assert_eq!(answer.unwrap(), 2);
    }
}
