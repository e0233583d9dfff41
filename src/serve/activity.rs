//! What a client does with its connection, and whether it may keep it.
//!
//! The protocols' own time-outs leave gaps: before the first byte, in the head of a request, between requests,
//! and where a client does not read. Here the bytes of a connection and its requests are seen, so that one that is of
//! no use for too long can be told.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long a connection without requests is kept: longer than the intervals at which telemetry is usually sent.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(180);

/// How long a client may leave what it asked for unread.
pub(super) const UNREAD_MAX: Duration = Duration::from_secs(60);

/// Why a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// No request came in time, or not all of its head.
    Head,
    /// The client does not read.
    Unread,
    /// There was no request for long.
    Idle,
}

/// The state of one connection; clones share it.
#[derive(Clone)]
pub(super) struct Activity(Arc<Mutex<State>>);

struct State {
    opened: Instant,
    /// Requests that are not answered to the end.
    under_way: usize,
    had_request: bool,
    is_http2: bool,
    /// When the last request was answered.
    quiet_since: Instant,
    /// The first byte since then.
    head_since: Option<Instant>,
    /// When the client stopped reading.
    unread_since: Option<Instant>,
}

/// A request that is under way until this is dropped.
pub(super) struct UnderWay(Activity);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way -= 1;
        state.quiet_since = Instant::now();
        state.head_since = None;
    }
}

impl Activity {
    /// The activity of a connection that was opened at `now`.
    pub fn new(now: Instant) -> Self {
        Activity(Arc::new(Mutex::new(State {
            opened: now,
            under_way: 0,
            had_request: false,
            is_http2: false,
            quiet_since: now,
            head_since: None,
            unread_since: None,
        })))
    }

    /// A request begins: its head is here.
    pub fn begin(&self, is_http2: bool) -> UnderWay {
        let mut state = self.state();
        state.under_way += 1;
        state.had_request = true;
        state.is_http2 = is_http2;
        state.head_since = None;
        UnderWay(self.clone())
    }

    /// Whether no request has been under way for `time` at `now`.
    pub fn is_quiet(&self, now: Instant, time: Duration) -> bool {
        let state = self.state();
        state.under_way == 0 && now.saturating_duration_since(state.quiet_since) > time
    }

    /// Why the connection is to end at `now`, if it is, where a client has `request_timeout` to send a head.
    pub fn overdue(&self, now: Instant, request_timeout: Duration) -> Option<Overdue> {
        let state = self.state();
        let is_over = |since: Instant, time: Duration| now.saturating_duration_since(since) > time;
        if state.unread_since.is_some_and(|since| is_over(since, UNREAD_MAX)) {
            return Some(Overdue::Unread);
        }
        if state.under_way > 0 {
            return None;
        }
        let is_head_late = match (state.had_request, state.is_http2) {
            (false, _) => is_over(state.opened, request_timeout),
            // Pings and settings are bytes too: heads of HTTP/2 cannot be told from them.
            (true, true) => false,
            (true, false) => state.head_since.is_some_and(|since| is_over(since, request_timeout)),
        };
        match is_head_late {
            true => Some(Overdue::Head),
            false => is_over(state.quiet_since, IDLE_MAX).then_some(Overdue::Idle),
        }
    }

    fn read(&self) {
        let mut state = self.state();
        if state.under_way == 0 && state.head_since.is_none() {
            state.head_since = Some(Instant::now());
        }
    }

    fn written<T>(&self, poll: Poll<T>) -> Poll<T> {
        let mut state = self.state();
        match poll {
            Poll::Ready(_) => state.unread_since = None,
            Poll::Pending => {
                state.unread_since.get_or_insert_with(Instant::now);
            }
        }
        poll
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream under watch.
pub(super) struct Watched<S> {
    stream: S,
    activity: Activity,
}

impl<S> Watched<S> {
    /// `stream`, seen by `activity`.
    pub fn new(stream: S, activity: Activity) -> Self {
        Watched { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.read();
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.activity.written(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.activity.written(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        self.activity.written(poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    /// What a watch says `seconds` after `start`.
    fn after(activity: &Activity, start: Instant, seconds: u64) -> Option<Overdue> {
        activity.overdue(start + Duration::from_secs(seconds), TIMEOUT)
    }

    #[test]
    fn the_first_request_has_to_come_in_time_and_then_the_connection_may_rest() {
        let start = Instant::now();
        let activity = Activity::new(start);
        assert_eq!((after(&activity, start, 10), after(&activity, start, 11)), (None, Some(Overdue::Head)));
        let under_way = activity.begin(false);
        assert_eq!(after(&activity, start, 100_000), None);
        drop(under_way);
        let start = activity.state().quiet_since;
        assert_eq!((after(&activity, start, 180), after(&activity, start, 181)), (None, Some(Overdue::Idle)));
    }

    #[test]
    fn a_head_of_http1_has_to_end_in_time_and_pings_of_http2_do_not_count() {
        for (is_http2, expected) in [(false, Some(Overdue::Head)), (true, None)] {
            let activity = Activity::new(Instant::now());
            drop(activity.begin(is_http2));
            activity.read();
            let start = activity.state().head_since.expect("a byte was read");
            activity.read();
            assert_eq!((after(&activity, start, 9), after(&activity, start, 12)), (None, expected));
        }
    }

    #[test]
    fn a_client_has_to_read_even_while_a_request_is_under_way() {
        let activity = Activity::new(Instant::now());
        let _under_way = activity.begin(false);
        assert!(activity.written(Poll::<()>::Pending).is_pending());
        let start = activity.state().unread_since.expect("a write waits");
        assert_eq!((after(&activity, start, 60), after(&activity, start, 61)), (None, Some(Overdue::Unread)));
        assert!(activity.written(Poll::Ready(())).is_ready());
        assert_eq!(after(&activity, start, 61), None);
    }
}
