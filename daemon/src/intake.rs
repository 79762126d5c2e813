//! Policies in: where they come from, and which set of them is in force.
//!
//! In: the sources that the user named. Out: the objects that the sets in force ask for, handed to `publish`
//! whenever a source, the cluster or a refused object's time gives a reason. A source that gives nothing, or a set
//! that does not validate, changes nothing: the last good set stays in force.

pub mod board;
pub mod config_maps;
pub mod directory;
pub mod git;
pub mod health;
pub mod in_force;
pub mod ledger;
pub mod name;
pub mod news;
pub mod origin;
pub mod round;
pub mod runs;
pub mod set;
pub mod source;
pub mod status;
pub mod tell;
pub mod watch;

use std::time::Duration;

use futures::FutureExt as _;
use holdfast_policy::compile::Target;
use tokio::sync::{mpsc, watch as channel};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::clock::Clock;
use crate::controllers::stores::Stores;
use crate::controllers::switches::Purpose;
use crate::publish::Publisher;
use crate::publish::mode::Mode;
use board::Board;
use in_force::{Place, State};
use ledger::Ledger;
use ledger::place::Places;
use origin::Origin;
use runs::Runs;
use tell::Teller;
use watch::Update;

const BETWEEN_LOOKS: Duration = Duration::from_secs(2);
/// Backups end in crowds: what they change is put together.
const AFTER_A_RUN: Duration = Duration::from_secs(2);
/// A clock may be put right meanwhile.
const TELL_AT_LEAST_EVERY: Duration = Duration::from_secs(60);

/// What the user says about policies.
#[derive(Debug, Clone)]
pub struct Options {
    pub policies: origin::Given,
    /// Where the objects go.
    pub namespace: String,
    pub cluster_name: Option<String>,
    /// The location of backups that name none, where none is marked as the default.
    pub default_location: String,
    pub mode: Mode,
    /// Tells of another server that carries out what this one should.
    pub foreign_server: channel::Receiver<Option<String>>,
    pub purpose: Purpose,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("sources of policies")]
    Origins(#[from] origin::Error),
}

/// Keeps the cluster in step with the sources until `shutdown`.
pub async fn run(
    options: Options,
    client: kube::Client,
    clock: Clock,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let Options { policies, namespace, cluster_name, default_location, mode, purpose, foreign_server } =
        options;
    let sources = origin::named(&policies, &namespace)?;
    if sources.is_empty() {
        shutdown.cancelled().await;
        return Ok(());
    }
    let board = shutdown
        .run_until_cancelled(open_board(client.clone(), namespace.clone(), shutdown.clone()))
        .await
        .flatten();
    let publisher =
        Publisher::start(client.clone(), namespace.clone(), cluster_name.clone(), mode, &shutdown);
    let runs = Runs::start(&client, &namespace, &shutdown);
    let places = Places {
        client: client.clone(),
        namespace: namespace.clone(),
        stores: Stores::new(&client, &namespace),
        default_location,
    };
    let ledger = Ledger::new(places, cluster_name.clone(), mode, shutdown.clone());
    let (sender, updates) = mpsc::channel(sources.len());
    let mut states = Vec::with_capacity(sources.len());
    for (index, (name, origin)) in sources.into_iter().enumerate() {
        let target = Target {
            namespace: namespace.clone(),
            source: name.to_string(),
            cluster_name: cluster_name.clone(),
        };
        let left = board.as_ref().and_then(|board| board.get(&name)).as_ref().map(board::left);
        let trust = origin.trust(&target.namespace, &policies.hooks_in);
        let place = Place { trust, target, mode, purpose };
        states.push(State::new(name, &origin, place, left.unwrap_or_default()));
        let sender = sender.clone();
        let follow = match origin {
            Origin::Directory(path) => watch::follow(index, path, sender).boxed(),
            Origin::ConfigMaps(maps) => config_maps::follow(index, maps, client.clone(), sender).boxed(),
        };
        tokio::spawn(shutdown.clone().run_until_cancelled_owned(follow));
    }
    drop(sender);
    let parts = Parts { updates, publisher, board, runs, ledger, foreign_server, clock };
    shutdown.run_until_cancelled(keep_in_step(&mut states, parts)).await;
    Ok(())
}

/// What ran once is remembered there, so that nothing is published before it was read.
async fn open_board(client: kube::Client, namespace: String, shutdown: CancellationToken) -> Option<Board> {
    loop {
        match Board::open(client.clone(), &namespace, &shutdown).await {
            Ok(Some(board)) => return Some(board),
            Ok(None) => {
                warn!("the cluster does not serve PolicySets: what becomes of policies is only logged");
                return None;
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "could not read policy sets, trying again");
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
        }
    }
}

struct Parts {
    updates: mpsc::Receiver<Update>,
    publisher: Publisher,
    board: Option<Board>,
    runs: Runs,
    ledger: Ledger,
    foreign_server: channel::Receiver<Option<String>>,
    clock: Clock,
}

/// Never returns; every await in it may be where it is dropped.
async fn keep_in_step(states: &mut [State], parts: Parts) {
    let Parts { mut updates, publisher, board, runs, ledger, mut foreign_server, clock } = parts;
    let mut ready = false;
    let mut next_round = Instant::now();
    let mut next_tell = Instant::now();
    loop {
        let mut due = Due::Round;
        tokio::select! {
            // Ends only with the task, when every sender is gone.
            Some(update) = updates.recv() => in_force::take(states, update, clock()).await,
            () = publisher.ready(), if !ready => ready = true,
            () = publisher.woken(), if ready => {}
            () = noticed(board.as_ref()), if ready => {}
            () = ledger.changed(), if ready => {}
            () = sleep_until(next_round), if ready => {}
            () = runs.changed(), if ready => {
                next_tell = next_tell.min(Instant::now() + AFTER_A_RUN);
                continue;
            }
            () = sleep_until(next_tell), if ready => due = Due::Tell,
            note = noticed_server(&mut foreign_server) => {
                for state in states.iter_mut() {
                    state.foreign_server.clone_from(&note);
                }
                due = Due::Tell;
            }
        }
        while let Ok(update) = updates.try_recv() {
            in_force::take(states, update, clock()).await;
        }
        if !ready {
            continue;
        }
        let teller = Teller { board: board.as_ref(), runs: &runs, events: publisher.events() };
        if due == Due::Round {
            let pause = round::round(states, &publisher, &ledger, teller, &clock).await;
            next_round = Instant::now() + pause;
        }
        next_tell = Instant::now() + tell_all(states, teller, &clock).await;
    }
}

/// What there is to do.
#[derive(PartialEq, Eq)]
enum Due {
    /// Publish, and tell.
    Round,
    Tell,
}

/// Gives the time until there will be something to tell.
async fn tell_all(states: &mut [State], teller: Teller<'_>, clock: &Clock) -> Duration {
    let mut pause = TELL_AT_LEAST_EVERY;
    for state in states {
        let now = clock();
        if let Some(again) = teller.tell(state, now).await {
            pause = pause.min((again - now).to_std().unwrap_or_default());
        }
    }
    pause
}

/// Returns when it is another one than before.
async fn noticed_server(server: &mut channel::Receiver<Option<String>>) -> Option<String> {
    // An error means that nobody looks out for one.
    if server.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    server.borrow_and_update().clone()
}

async fn noticed(board: Option<&Board>) {
    match board {
        Some(board) => board.changed().await,
        None => std::future::pending().await,
    }
}
