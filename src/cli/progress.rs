//! Progress on stderr: bars with rate, quota and time left on a terminal, plain lines otherwise.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant as Moment};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::context::Context;
use super::list::{duration, grouped};
use crate::engine::{Phase, Progress, Stop};

/// How often a plain line is written while nothing ends.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows the progress of any number of datasets.
pub struct Display {
    style: Style,
    shown: Mutex<Vec<JoinHandle<()>>>,
}

enum Style {
    Bars(MultiProgress),
    Lines,
    Nothing,
}

impl Display {
    pub fn new(context: &Context) -> Display {
        let terminal = std::io::stderr().is_terminal();
        let style = if context.quiet {
            Style::Nothing
        } else if context.options().output.progress.is_on(terminal) && terminal {
            Style::Bars(MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)))
        } else {
            Style::Lines
        };
        Display { style, shown: Mutex::default() }
    }

    /// Follows one dataset until it is finished.
    pub fn follow(&self, dataset: &str, progress: watch::Receiver<Progress>) {
        let following = match &self.style {
            Style::Bars(bars) => tokio::spawn(bar(bars.add(ProgressBar::new(1)), dataset.to_string(), progress)),
            Style::Lines => tokio::spawn(lines(dataset.to_string(), progress)),
            Style::Nothing => return,
        };
        self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(following);
    }

    /// Waits until everything that was followed has been shown to its end.
    pub async fn close(self) {
        let shown = self.shown.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        for following in shown {
            let _ = following.await;
        }
    }
}

async fn bar(bar: ProgressBar, dataset: String, mut progress: watch::Receiver<Progress>) {
    let template = "{prefix:16} {bar:28.green} {msg}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("━╸─"));
    bar.set_prefix(dataset);
    while progress.changed().await.is_ok() {
        let now = progress.borrow_and_update().clone();
        bar.set_length(now.slices_total.max(1));
        let finished = now.phase == Phase::Finished;
        bar.set_position(if finished && now.slices_total == 0 { 1 } else { now.slices_finished() });
        bar.set_message(describe(&now));
        if finished {
            break;
        }
    }
    bar.abandon();
}

async fn lines(dataset: String, mut progress: watch::Receiver<Progress>) {
    let mut last: Option<Moment> = None;
    while progress.changed().await.is_ok() {
        let now = progress.borrow_and_update().clone();
        let finished = now.phase == Phase::Finished;
        let due = last.is_none_or(|last| last.elapsed() >= LINE_EVERY);
        let told = now.phase == Phase::Elsewhere || (now.phase == Phase::Fetching && now.slices_total > 0);
        if finished || (due && told) {
            eprintln!("{dataset:16} {}", describe(&now));
            last = Some(Moment::now());
        }
        if finished {
            break;
        }
    }
}

/// `45/121 slices · 240,120 rows · 31,000 rows/s · 380 calls left this minute · 12 s left`.
fn describe(progress: &Progress) -> String {
    if progress.phase == Phase::Planning {
        return "planning".to_string();
    }
    if progress.phase == Phase::Elsewhere {
        let note = progress.note.as_deref().unwrap_or("run by another process");
        return format!("{}/{} slices · {note}", progress.slices_finished(), progress.slices_total);
    }
    if progress.slices_total == 0 {
        let text = if progress.phase == Phase::Finished { "nothing to do" } else { "waiting" };
        return text.to_string();
    }
    let mut parts = vec![
        format!("{}/{} slices", progress.slices_finished(), progress.slices_total),
        format!("{} rows", grouped(progress.totals.rows_answered)),
    ];
    if progress.phase != Phase::Finished {
        parts.extend(progress.group().map(str::to_string));
    }
    if progress.phase == Phase::Finished {
        parts.push(duration(progress.started.elapsed().as_millis() as u64));
    } else {
        parts.push(format!("{} rows/s", grouped(progress.rows_per_second() as u64)));
        parts.extend(progress.quota_left.map(|left| format!("{left} calls left this minute")));
        parts.extend(progress.seconds_left().map(|seconds| format!("{} left", duration(seconds * 1000))));
    }
    if progress.totals.slices_failed > 0 {
        parts.push(format!("{} failed", progress.totals.slices_failed));
    }
    if progress.phase != Phase::Finished {
        parts.extend(progress.note.clone());
    }
    parts.join(" · ")
}

/// The first Ctrl-C (or SIGTERM) asks to stop, the second ends the program at once. Signals are heard from the moment
/// this returns.
pub fn stop_on_signal() -> Stop {
    let stop = Stop::default();
    let asked = stop.clone();
    let listen = |kind: SignalKind| signal(kind).ok();
    let mut signals = (listen(SignalKind::interrupt()), listen(SignalKind::terminate()));
    tokio::spawn(async move {
        one_of(&mut signals).await;
        asked.ask();
        eprintln!("\nstopping: what has been fetched is committed; press Ctrl-C again to end at once");
        one_of(&mut signals).await;
        std::process::exit(130);
    });
    stop
}

/// Returns at the next of two signals.
async fn one_of((interrupt, terminate): &mut (Option<Signal>, Option<Signal>)) {
    tokio::select! {
        () = next(interrupt) => {}
        () = next(terminate) => {}
    }
}

/// A signal that cannot be listened to never comes.
async fn next(signal: &mut Option<Signal>) {
    let heard = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if heard.is_none() {
        std::future::pending::<()>().await;
    }
}
