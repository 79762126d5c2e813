//! `holdfast next --cron`: instants a line, or a reason and nothing else.

use holdfast_tests::command::holdfast;
use pretty_assertions::assert_eq;

const FROM: &str = "2026-11-23T12:00:00Z";

async fn lines(arguments: &[&str]) -> Vec<String> {
    let ended = holdfast(["next", "--from", FROM, "--count", "2", "--cron"].iter().chain(arguments))
        .await
        .expect("the command runs");
    assert_eq!((ended.code, ended.errors.as_str()), (0, ""), "{arguments:?}");
    ended.output.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn instants_are_in_utc_and_a_zone_in_the_expression_wins() {
    let berlin = ["2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z"];
    assert_eq!(lines(&["0 1 * * *"]).await, ["2026-11-24T01:00:00Z", "2026-11-25T01:00:00Z"]);
    assert_eq!(lines(&["0 1 * * *", "--time-zone", "Europe/Berlin"]).await, berlin);
    for zoned in ["CRON_TZ=Europe/Berlin 0 1 * * *", "TZ=Europe/Berlin 0 1 * * *"] {
        assert_eq!(lines(&[zoned]).await, berlin);
        assert_eq!(lines(&[zoned, "--time-zone", "Asia/Tokyo"]).await, berlin);
    }
    assert_eq!(lines(&["@every 1h30m"]).await, ["2026-11-23T13:30:00Z", "2026-11-23T15:00:00Z"]);
    // A step larger than its range leaves the first value; ranges may wrap around; Sunday is 0 and 7.
    assert_eq!(lines(&["*/90 5 * * *"]).await, ["2026-11-24T05:00:00Z", "2026-11-25T05:00:00Z"]);
    assert_eq!(lines(&["0 0 * * fri-mon"]).await, ["2026-11-27T00:00:00Z", "2026-11-28T00:00:00Z"]);
    assert_eq!(lines(&["0 0 * * 7"]).await, lines(&["0 0 * * 0"]).await);
}

#[tokio::test]
async fn a_wrong_expression_gives_one_and_a_reason_and_nothing_on_standard_output() {
    for (arguments, reason) in [
        (vec!["0 1 * *"], "4 fields where five are expected"),
        (vec!["0 0 31 2 *"], "it never fires"),
        (vec!["0 0 30 feb *"], "it never fires"),
        (vec!["61 * * * *"], "is not a value from 0 to 59"),
        (vec!["@every 500ms"], "a second is the least"),
        (vec!["@dayly"], "unknown descriptor"),
        (vec![""], "the expression is empty"),
        (vec!["CRON_TZ=Nowhere/City 0 0 * * *"], "unknown time zone"),
        (vec!["0 0 * * *", "--time-zone", "Nowhere/City"], "unknown time zone"),
    ] {
        let ended = holdfast(["next", "--cron"].iter().chain(&arguments)).await.unwrap();
        assert_eq!((ended.code, ended.output.as_str()), (1, ""), "{arguments:?}");
        assert!(ended.errors.contains(reason), "{arguments:?}: {}", ended.errors);
    }
}
