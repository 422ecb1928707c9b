//! More detail for a while. A process that behaves oddly should be looked at as it is, not after a restart: SIGUSR1 makes
//! it log what debugging needs until [`SPAN`] is over or the signal comes again, so that nobody forgets a log that fills
//! the disk.

use std::{pin::pin, time::Duration};

use futures_util::{Stream, StreamExt as _};

/// For so long.
pub(super) const SPAN: Duration = Duration::from_mins(15);

/// Calls `show` with whether there shall be more detail, as it is `asked` for and as time goes by.
pub(super) async fn follow(asked: impl Stream<Item = ()>, span: Duration, show: impl Fn(bool)) {
    let mut asked = pin!(asked);
    while asked.next().await.is_some() {
        show(true);
        // Whether it is asked for again or time is up is the same.
        let _ = tokio::time::timeout(span, asked.next()).await;
        show(false);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::stream;

    use super::*;

    async fn shown(asked: impl Stream<Item = ()>, span: Duration) -> Vec<bool> {
        let shown = Mutex::new(Vec::new());
        follow(asked, span, |more| shown.lock().unwrap().push(more)).await;
        shown.into_inner().unwrap()
    }

    #[tokio::test]
    async fn detail_ends_when_it_is_asked_for_again() {
        let asked = stream::iter([(), ()]).chain(stream::empty());
        assert_eq!(shown(asked, SPAN).await, [true, false]);
    }

    #[tokio::test]
    async fn detail_ends_by_itself() {
        let span = Duration::from_millis(1);
        let (again, asking) = tokio::sync::mpsc::unbounded_channel();
        let asked = stream::unfold(asking, |mut asking: tokio::sync::mpsc::UnboundedReceiver<()>| async {
            Some((asking.recv().await?, asking))
        });
        again.send(()).unwrap();
        let last = Mutex::new(Some(again));
        let (told, told_of) = tokio::sync::oneshot::channel();
        let told = Mutex::new(Some(told));
        // Nobody asks again; the end of the detail lets go of the asking, and so ends the test.
        let following = follow(asked, span, |more| {
            if !more {
                drop(last.lock().unwrap().take());
                let _ = told.lock().unwrap().take().map(|told| told.send(()));
            }
        });
        following.await;
        told_of.await.unwrap();
    }
}
