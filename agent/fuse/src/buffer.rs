//! One buffer a thread for answering reads, so that a cached read allocates nothing.

use std::cell::RefCell;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends `use_it` this thread's buffer, `size` bytes long; what stands in it is left over from earlier. It grows to the
/// largest read asked for, which the mount bounds. Not to be called from within itself.
pub(crate) fn with<R>(size: usize, use_it: impl FnOnce(&mut [u8]) -> R) -> R {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.len() < size {
            buffer.resize(size, 0);
        }
        use_it(&mut buffer[..size])
    })
}
