//! What a person sees while the demo works: bars on a terminal, plain lines otherwise.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Reports one step after the other, on standard error.
pub(super) struct Steps {
    total: usize,
    number: usize,
    bars: Bars,
}

enum Bars {
    Drawn,
    Lines,
}

/// A step that has begun; [`Step::done`] ends it with a sentence.
pub(super) struct Step {
    title: String,
    began: Instant,
    bar: Option<ProgressBar>,
    last: Option<(i64, i64)>,
}

impl Steps {
    /// `total` is how many steps there will be.
    pub(super) fn new(total: usize) -> Steps {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        Steps { total, number: 0, bars: if terminal { Bars::Drawn } else { Bars::Lines } }
    }

    pub(super) fn begin(&mut self, title: &str) -> Step {
        self.number += 1;
        let title = format!("[{}/{}] {title}", self.number, self.total);
        let bar = match self.bars {
            Bars::Lines => {
                eprintln!("{title} …");
                None
            }
            Bars::Drawn => {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
                let style = ProgressStyle::with_template("{spinner} {prefix} {msg} {elapsed}");
                bar.set_style(style.expect("the template is a constant that parses"));
                bar.set_prefix(title.clone());
                bar.enable_steady_tick(Duration::from_millis(120));
                Some(bar)
            }
        };
        Step { title, began: Instant::now(), bar, last: None }
    }
}

impl Steps {
    /// A sentence between or after the steps.
    pub(super) fn note(&self, sentence: &str) {
        eprintln!("{sentence}");
    }
}

impl Step {
    /// `done` of `total` objects; `total` may grow.
    pub(super) fn progress(&mut self, done: i64, total: i64) {
        if total <= 0 || self.last == Some((done, total)) {
            return;
        }
        self.last = Some((done, total));
        if let Some(bar) = &self.bar {
            let style = ProgressStyle::with_template("{spinner} {prefix} {bar:24} {pos}/{len} {elapsed}");
            bar.set_style(style.expect("the template is a constant that parses"));
            bar.set_length(total.unsigned_abs());
            bar.set_position(done.unsigned_abs());
        }
    }

    /// Ends the step.
    pub(super) fn done(self, sentence: &str) {
        let seconds = self.began.elapsed().as_secs_f64();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("{}: {sentence} ({seconds:.1} s)", self.title);
    }
}
