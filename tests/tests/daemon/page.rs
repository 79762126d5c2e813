//! The page: who may look, what stands on it, that texts of others stay texts, and how it looks in a browser.

mod browser;

use std::path::Path;

use holdfast_policy::velero::{
    BackupPhase, BackupStorageLocation, BackupStorageLocationSpec, LocationPhase, ObjectStorageLocation,
    Schedule,
};
use holdfast_tests::waiting::until;
use holdfast_tests::{Daemon, DaemonOptions};
use pretty_assertions::assert_eq;
use reqwest::{Client, RequestBuilder, StatusCode, header};
use scraper::{Html, Selector};

use crate::home::{Home, PATIENCE, backup_of};
use browser::{Browser, Scheme};

const TOKEN: &str = "open-sesame";
const HOSTILE: &str = "\"><script src=//example.com></script><img src=x onerror=alert(1)>";

struct Stage {
    home: Home,
    /// Where nothing of the policies looks.
    forgotten: String,
    address: String,
    client: Client,
    _daemon: Daemon,
    _policies: tempfile::TempDir,
}

fn policy(namespace: &str) -> String {
    format!(
        "apiVersion: holdfast.dev/v1alpha1\nkind: BackupPolicy\nmetadata: {{name: shop}}\nspec:\n  \
         select: {{namespaces: {{include: [{namespace}]}}}}\n  retention: {{minimumGood: 1}}\n  schedules:\n  \
         - {{name: hourly, cron: \"@hourly\", skipImmediately: true}}\n  \
         - {{name: nightly, cron: \"0 1 * * *\", timeZone: Europe/Berlin, skipImmediately: true}}\n"
    )
}

/// Where its page is.
fn address(daemon: &Daemon) -> anyhow::Result<String> {
    let log = daemon.log_text();
    let line = log.lines().find(|line| line.contains("serving the page")).expect("it says where");
    let line: serde_json::Value = serde_json::from_str(line)?;
    Ok(line["address"].as_str().expect("an address").to_owned())
}

impl Stage {
    async fn set(prefix: &str) -> anyhow::Result<Stage> {
        let home = Home::new(prefix).await?;
        let application = home.application(prefix).await?;
        let forgotten = home.application("forgotten").await?;
        let folder = tempfile::Builder::new().prefix("policies-").tempdir()?;
        for (source, text) in
            [("main", policy(&application)), ("team", policy(&application).replace("cron", "corn"))]
        {
            std::fs::create_dir(folder.path().join(source))?;
            std::fs::write(folder.path().join(source).join("shop.yaml"), text)?;
        }
        let token = folder.path().join("token");
        std::fs::write(&token, format!("{TOKEN}\n"))?;
        let policies = |source: &str| format!("--policies={source}={}", folder.path().join(source).display());
        let daemon = home
            .daemon(&[
                &policies("main"),
                &policies("team"),
                "--web-address=127.0.0.1:0",
                &format!("--web-token-file={}", token.display()),
            ])
            .await?;
        home.local_location().await?;
        home.location_is(LocationPhase::Available).await?;
        let settled = |schedule: &Schedule| schedule.status.last_skipped.is_some();
        home.runs.ended("shop-nightly", PATIENCE, settled).await?;
        let address = address(&daemon)?;
        Ok(Stage { home, forgotten, address, client: Client::new(), _daemon: daemon, _policies: folder })
    }

    fn ask(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("http://{}{path}", self.address))
    }

    async fn page(&self, path: &str) -> anyhow::Result<String> {
        let answer = self.ask(path).bearer_auth(TOKEN).send().await?.error_for_status()?;
        Ok(answer.text().await?)
    }

    /// Waits until this stands on the page.
    async fn shows(&self, text: &str) -> anyhow::Result<String> {
        let look = async || Ok(Some(self.page("/").await?).filter(|page| page.contains(text)));
        until(text, PATIENCE, look).await
    }
}

/// The texts of what a selector chooses.
fn texts(page: &str, selector: &str) -> Vec<String> {
    let selector = Selector::parse(selector).expect("a selector");
    Html::parse_document(page).select(&selector).map(|element| element.text().collect::<String>()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_know_the_token_see_how_everything_fares() -> anyhow::Result<()> {
    let stage = Stage::set("page").await?;
    for request in
        [stage.ask("/"), stage.ask("/").bearer_auth("guess"), stage.ask("/page.css"), stage.ask("/coverage")]
    {
        let answer = request.send().await?;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert!(answer.headers().contains_key(header::CONTENT_SECURITY_POLICY));
        let asked = answer.headers().get_all(header::WWW_AUTHENTICATE).iter();
        assert!(asked.into_iter().any(|value| value.to_str().is_ok_and(|text| text.starts_with("Basic "))));
    }
    let answer = stage.ask("/").basic_auth("me", Some(TOKEN)).send().await?;
    assert_eq!(answer.status(), StatusCode::OK);
    let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str()?.to_owned();
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    let post = stage.client.post(format!("http://{}/", stage.address)).bearer_auth(TOKEN).send().await?;
    assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);

    // Of two sources one is refused, and says where.
    let page = stage.shows("shop.yaml:8:").await?;
    assert!(texts(&page, "details code").iter().any(|text| text.contains("shop.yaml:8:")), "{page}");
    let backup = stage.home.runs.backup("by-hand", backup_of(&stage.home.namespace), PATIENCE).await?;
    assert_eq!(backup.status.phase, Some(BackupPhase::Completed));
    let page = stage.shows("by-hand").await?;
    let names = texts(&page, "td.name");
    for name in ["shop-hourly", "shop-nightly", "by-hand", "default default"] {
        assert!(names.iter().any(|text| text == name), "{name}: {names:?}");
    }
    assert_eq!(texts(&page, ".day").len(), 7);
    assert!(texts(&page, ".day li").iter().any(|text| text.contains("shop-hourly")), "{page}");

    let coverage = stage.page("/coverage").await?;
    assert!(texts(&coverage, "li").iter().any(|text| text.starts_with(&stage.forgotten)), "{coverage}");
    stage.shows("objects were in backups of schedules").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_a_page_where_policies_are_only_published_and_one_of_a_replica_that_stands_by()
-> anyhow::Result<()> {
    let home = Home::new("page-modes").await?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("shop.yaml"), policy(&home.namespace))?;
    let policies = format!("--policies=main={}", folder.path().display());
    let daemon = home.daemon(&[&policies, "--mode=policy", "--web-address=127.0.0.1:0"]).await?;
    let page = async |daemon: &Daemon| {
        let address = address(daemon)?;
        Ok::<_, anyhow::Error>(reqwest::get(format!("http://{address}/")).await?.text().await?)
    };
    until("the schedule is on the page", PATIENCE, async || {
        Ok(Some(page(&daemon).await?).filter(|text| text.contains("shop-nightly")))
    })
    .await?;
    let options = DaemonOptions {
        namespace: home.namespace.clone(),
        arguments: vec!["--web-address=127.0.0.1:0".to_owned()],
        environment: vec![("POD_NAME", "another".to_owned())],
        ready: "standing by",
        ..DaemonOptions::default()
    };
    let another = Daemon::start(home.testbed, options).await?;
    let text = page(&another).await?;
    assert!(text.contains("This replica has nothing to show: ok: standing by for daemon"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_write_stays_text() -> anyhow::Result<()> {
    let stage = Stage::set("hostile").await?;
    let spec = BackupStorageLocationSpec {
        provider: HOSTILE.to_owned(),
        object_storage: ObjectStorageLocation {
            bucket: HOSTILE.to_owned(),
            ..ObjectStorageLocation::default()
        },
        ..BackupStorageLocationSpec::default()
    };
    stage.home.runs.create(&BackupStorageLocation::new("hostile", spec)).await?;
    let page = stage.shows("onerror").await?;
    let document = Html::parse_document(&page);
    let count = |selector: &str| document.select(&Selector::parse(selector).expect("a selector")).count();
    assert_eq!((count("script"), count("script[src='page.js']"), count("img")), (1, 1, 0), "{page}");
    assert!(texts(&page, "td").iter().any(|text| text.contains(HOSTILE)), "{page}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_it_light_and_dark_and_keeps_it_fresh() -> anyhow::Result<()> {
    let Some(browser) = Browser::find() else {
        eprintln!("not looked at: no Chromium is installed, and HOLDFAST_CHROMIUM names none");
        return Ok(());
    };
    let stage = Stage::set("browser").await?;
    for name in ["first", "second"] {
        stage.home.runs.backup(name, backup_of(&stage.home.namespace), PATIENCE).await?;
    }
    stage.shows("second").await?;
    stage.shows("shop.yaml:8:").await?;
    let url = format!("http://me:{TOKEN}@{}/", stage.address);
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let folder = tempfile::tempdir()?;
    for (scheme, name) in [(Scheme::Light, "page-light.png"), (Scheme::Dark, "page-dark.png")] {
        let picture = folder.path().join(name);
        browser.picture(&url, scheme, &picture).await?;
        // A page without its style, or an empty one, is far smaller.
        assert!(std::fs::metadata(&picture)?.len() > 40_000, "{name} is nearly empty");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::copy(&picture, docs.join(name))?;
        }
    }
    let refreshed = browser.document_after_a_while(&url).await?;
    assert!(refreshed.contains("data-refreshed="), "{refreshed}");
    assert!(!texts(&refreshed, "td.name").is_empty());
    Ok(())
}
