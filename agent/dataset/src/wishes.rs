//! Wishes for a new listing: made at any time, answered by a listing that began after them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::catalogs::Fresh;

#[derive(Debug, Default)]
pub(crate) struct Wishes {
    state: Mutex<State>,
    made: Notify,
}

#[derive(Debug, Default)]
struct State {
    made: u64,
    answered: u64,
    /// The newest wish that has no name, and the newest that has one.
    unnamed: Option<Wish>,
    named: Option<(Wish, String)>,
    answered_name: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Wish {
    number: u64,
    since: Instant,
}

/// The wishes that a listing answers.
#[derive(Debug)]
pub(crate) struct Answer {
    made: u64,
    name: Option<String>,
}

impl Wishes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a wish, of a name that other nodes may know it by; its number. One of the same name as the last is that one.
    pub(crate) fn make(&self, name: Option<String>) -> u64 {
        let mut state = self.state();
        if let Some((wish, last)) = &state.named
            && name.as_ref() == Some(last)
        {
            return wish.number;
        }
        state.made += 1;
        let wish = Wish { number: state.made, since: Instant::now() };
        match name {
            None => state.unnamed = Some(wish),
            Some(name) => state.named = Some((wish, name)),
        }
        self.made.notify_one();
        wish.number
    }

    /// Until one was made since the last time.
    pub(crate) async fn wait(&self) {
        self.made.notified().await;
    }

    /// What a listing must be to answer them all; `None`: none is open. What another node listed for a name is no answer to a wish that has
    /// none.
    pub(crate) fn open(&self) -> Option<Fresh> {
        let state = self.state();
        let is_open = |wish: &Wish| wish.number > state.answered;
        let unnamed = state.unnamed.filter(is_open);
        let named = state.named.as_ref().filter(|(wish, _)| is_open(wish));
        match (unnamed, named) {
            (None, None) => None,
            (None, Some((wish, name))) => Some(Fresh { since: Some(wish.since), wish: Some(name.clone()) }),
            (Some(wish), named) => {
                let since = named.map_or(wish.since, |(other, _)| wish.since.max(other.since));
                Some(Fresh { since: Some(since), wish: None })
            }
        }
    }

    /// What a listing answers that begins now.
    pub(crate) fn answer(&self) -> Answer {
        let state = self.state();
        Answer { made: state.made, name: state.named.as_ref().map(|(_, name)| name.clone()) }
    }

    /// A listing has answered them.
    pub(crate) fn answered(&self, answer: Answer) {
        let mut state = self.state();
        state.answered = answer.made;
        if answer.name.is_some() {
            state.answered_name = answer.name;
        }
    }

    /// The number of the newest one that is answered, or was made before it.
    pub(crate) fn last_answered(&self) -> u64 {
        self.state().answered
    }

    /// The catalog that there is, a former process had for this wish.
    pub(crate) fn was_answered(&self, name: String) {
        self.state().answered_name.get_or_insert(name);
    }

    /// Whether `name` is the newest one of a name that is answered.
    pub(crate) fn has_answered(&self, name: &str) -> bool {
        self.state().answered_name.as_deref() == Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_answers_what_was_wished_before_it_began() {
        let wishes = Wishes::default();
        assert!(wishes.open().is_none());
        assert_eq!(wishes.make(Some("a".into())), 1);
        let answer = wishes.answer();
        let began = Instant::now();
        assert_eq!(wishes.make(None), 2);
        wishes.answered(answer);
        assert_eq!((wishes.last_answered(), wishes.has_answered("a")), (1, true));
        // The second is open: what answered the first is no answer to it.
        let open = wishes.open();
        assert!(open.is_some_and(|open| open.wish.is_none() && open.since >= Some(began)));
        wishes.answered(wishes.answer());
        assert_eq!((wishes.last_answered(), wishes.has_answered("a"), wishes.open()), (2, true, None));
    }

    #[test]
    fn what_another_node_listed_for_a_name_answers_no_wish_without_one() {
        let wishes = Wishes::default();
        wishes.make(None);
        let between = Instant::now();
        wishes.make(Some("a".into()));
        assert!(wishes.open().is_some_and(|open| open.wish.is_none() && open.since >= Some(between)));
        wishes.answered(wishes.answer());
        assert!(wishes.has_answered("a") && wishes.open().is_none());
    }

    #[test]
    fn a_name_is_one_wish_however_often_it_is_heard() {
        let wishes = Wishes::default();
        assert_eq!((wishes.make(Some("a".into())), wishes.make(Some("a".into()))), (1, 1));
        wishes.answered(wishes.answer());
        assert_eq!((wishes.make(Some("a".into())), wishes.open()), (1, None));
        assert_eq!(wishes.make(Some("b".into())), 2);
        assert!(wishes.open().is_some_and(|open| open.wish.as_deref() == Some("b")));
    }

    #[test]
    fn a_wish_of_no_name_does_not_hide_that_one_with_a_name_is_answered() {
        let wishes = Wishes::default();
        wishes.was_answered("before".into());
        assert!(wishes.has_answered("before"));
        wishes.make(Some("a".into()));
        wishes.make(None);
        wishes.answered(wishes.answer());
        assert!(wishes.has_answered("a") && !wishes.has_answered("before"));
        wishes.was_answered("before".into());
        assert!(wishes.has_answered("a"));
    }
}
