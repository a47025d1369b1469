//! Small files that are published though nobody pins them, while there is room to spare ([`Room`]).
//!
//! Only objects of one block: their files are never punched, so that one that was published may be taken out of sight again, whoever
//! remembers it. A larger one stays published until it is unlinked.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::objects::{CLAIMED, Key, LENT, PINNED, STALE};
use super::{Phase, State, Tier, metafile};
use crate::ObjectId;
use crate::counters::count;
use crate::datasets::Dataset;
use crate::policy::{Arena as _, EVICTING, Room, TICKS, VERIFIED};

/// Objects that wait to be published at most; what is beyond is found by a walk over all.
const WAITING: usize = 1 << 16;
/// Objects looked at while the lock is held.
const CHUNK: u32 = 4096;
/// Objects published, or taken out of sight, in one round: each takes some system calls.
const ROUND: usize = 8192;
/// Ticks between two walks for what found no room before.
const WALK_AGAIN: u32 = 60 * TICKS;

/// Published files of one tier, and those that are to be.
#[derive(Default)]
pub(crate) struct Natives {
    /// Files that are published, pinned ones too.
    count: u64,
    /// Small objects that have become complete and verified.
    waiting: VecDeque<ObjectId>,
    /// The next number that a walk over the small objects looks at; `None` when none is under way.
    walk: Option<u32>,
    /// When the last walk began.
    walked: u32,
    /// Some found no room.
    missed: bool,
    /// Files that are not pinned were published since they were last looked for.
    loose: bool,
    /// The Datasets, by number, whose files were looked for last, to take them out.
    taken_from: Vec<bool>,
    /// The next number that this looks at; `None` when it is not under way.
    taking: Option<u32>,
    /// The directory is there.
    ready: bool,
}

impl Natives {
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn changed(&mut self, on: bool, pinned: bool) {
        if on {
            self.count += 1;
            self.loose |= !pinned;
        } else {
            self.count -= 1;
        }
    }

    /// A published file is pinned no more.
    pub(super) fn loosened(&mut self) {
        self.loose = true;
    }

    /// Takes up an object that may be published.
    pub(super) fn push(&mut self, id: ObjectId) {
        if self.waiting.len() < WAITING {
            self.waiting.push_back(id);
        } else {
            self.walk = Some(0);
        }
    }

    /// Looks at all objects once more.
    pub(crate) fn begin_walk(&mut self) {
        self.walk = Some(0);
    }

    /// Publishes none of those that wait; a later walk finds them.
    fn give_up(&mut self) {
        self.missed |= !self.waiting.is_empty() || self.walk.is_some();
        self.waiting.clear();
        self.walk = None;
    }

    /// Begins to look again at what found no room, if that was long ago.
    fn try_again(&mut self, now: u32) {
        if self.missed && now.saturating_sub(self.walked) >= WALK_AGAIN {
            (self.missed, self.walked, self.walk) = (false, now, Some(0));
        }
    }

    /// Where it is to be gone on with taking out what nobody pins and is of these Datasets; `None`: there is nothing new to look for.
    fn take_on(&mut self, from: &[bool]) -> Option<u32> {
        if !from.contains(&true) {
            self.taken_from.clear();
            self.taking = None;
        } else if self.taken_from != from || (self.loose && self.taking.is_none()) {
            // What is published behind it meanwhile is for the next one.
            self.loose = false;
            self.taken_from = from.to_vec();
            self.taking = Some(0);
        }
        self.taking
    }

    fn take(&mut self, most: usize) -> Vec<ObjectId> {
        let most = most.min(self.waiting.len());
        self.waiting.drain(..most).collect()
    }

    fn is_idle(&self) -> bool {
        self.count == 0 && self.waiting.is_empty() && self.walk.is_none() && !self.missed
    }
}

/// Whether an object is one that may be published where its Dataset wants it.
fn is_ready(state: &State, key: Key) -> bool {
    let verified = |at| {
        let link = state.objects.link(at);
        link.is(VERIFIED) && !link.is(EVICTING)
    };
    matches!(key, Key::Small(_))
        && !state.objects.is_native(key)
        && !state.objects.is(key, STALE | CLAIMED)
        && state.objects.block(key, 0).is_some_and(verified)
}

impl Tier {
    /// Takes an object up that has just become complete and verified, if it is small and its Dataset wants it published.
    pub(super) fn offer_native(&self, state: &mut State, key: Key) {
        if matches!(key, Key::Small(_)) && self.shared.datasets.get(state.objects.set_of(key)).publishes() {
            let id = *state.objects.id_of(key);
            state.natives.push(id);
        }
    }

    /// Publishes what waits for it while there is room to spare, and takes what nobody pins out of sight when there is not.
    pub(crate) fn keep_native(&self) {
        {
            let state = self.state();
            if state.phase == Phase::Shut || state.natives.is_idle() {
                return;
            }
        }
        if self.is_paused() {
            return;
        }
        let (room, sets) = (self.native_room(), self.shared.datasets.all());
        let counters = &self.shared.counters;
        if self.take_loose(room, &sets) > 0 {
            count(&counters.layers_changed, 1);
            count(&counters.layers_emptied, 1);
        }
        if self.publish_waiting(room, &sets) > 0 {
            count(&counters.layers_changed, 1);
        }
    }

    /// What of the tier may be published without being pinned. What may be on the disk and was not seen there takes nothing out, and
    /// lets nothing in.
    fn native_room(&self) -> Room {
        let Ok(free) = self.io.free() else { return Room::Tight };
        let (known, total) = {
            let state = self.state();
            (state.total() - state.account.unknown, state.total())
        };
        let room = match Room::of(known, self.capacity) {
            Room::Short => Room::Short,
            _ => Room::of(total, self.capacity).max(Room::Tight),
        };
        room.min(Room::on_disk(free, self.reserve))
    }

    /// Takes the small files that nobody pins out of sight, a bounded number at a time: all where the tier has no room for them, else those
    /// of Datasets whose quota has none. Their bytes stay. How many.
    fn take_loose(&self, room: Room, sets: &[Arc<Dataset>]) -> u64 {
        let from: Vec<bool> = sets.iter().map(|set| room.min(set.room()) == Room::Short).collect();
        let Some(mut next) = self.state().natives.take_on(&from) else { return 0 };
        let goes = |state: &State, key: Key| {
            matches!(key, Key::Small(_))
                && state.objects.is_native(key)
                && !state.objects.is(key, PINNED)
                && from.get(usize::from(state.objects.set_of(key))).is_some_and(|from| *from)
        };
        let (mut taken, mut left, end) = (0, ROUND, self.state().objects.bounds().0);
        while next < end && left > 0 {
            let after = end.min(next.saturating_add(CHUNK.min(left as u32)));
            let ids: Vec<ObjectId> = {
                let state = self.state();
                let chunk = (next..after).map(Key::Small).filter(|key| goes(&state, *key));
                chunk.map(|key| *state.objects.id_of(key)).collect()
            };
            left -= ids.len();
            for id in ids {
                if self.shared.is_closed() {
                    return taken;
                }
                match self.conceal(id, &goes) {
                    Ok(gone) => taken += u64::from(gone),
                    Err(e) => {
                        self.fault("take out of sight", &metafile::path(&id), &e);
                        self.state().natives.taking = Some(next);
                        return taken;
                    }
                }
            }
            next = after;
        }
        self.state().natives.taking = Some(next).filter(|next| *next < end);
        taken
    }

    /// Takes a file out of sight, if `goes` still holds for it. It may be open, and is asked for as before when it is to be evicted.
    fn conceal(&self, id: ObjectId, goes: &impl Fn(&State, Key) -> bool) -> io::Result<bool> {
        // Under the stripe nobody pins it.
        let _stripe = self.shared.stripe(&id);
        let holds = {
            let state = self.state();
            state.objects.find(&id).is_some_and(|key| goes(&state, key))
        };
        if !holds {
            return Ok(false);
        }
        self.io.conceal(&metafile::path(&id))?;
        let mut state = self.state();
        if let Some(key) = state.objects.find(&id) {
            state.mark_native(key, false);
        }
        // For the next time that there is room.
        state.natives.missed = true;
        Ok(true)
    }

    /// Publishes what waits, a bounded number; how many.
    fn publish_waiting(&self, room: Room, sets: &[Arc<Dataset>]) -> u64 {
        // Where the kernel does not say who has a file open, nobody would dare to evict it.
        if room != Room::Plenty || !self.io.knows_sharers() {
            self.state().natives.give_up();
            return 0;
        }
        self.state().natives.try_again(self.shared.tick());
        let (mut published, mut left) = (0, ROUND);
        while left > 0 {
            let ids = self.state().natives.take(left.min(CHUNK as usize));
            if ids.is_empty() {
                if !self.walk_on(sets) {
                    break;
                }
                continue;
            }
            if !self.prepare_natives() {
                self.state().natives.give_up();
                break;
            }
            left -= ids.len();
            for id in ids {
                match self.publish_small(id, sets) {
                    Ok(done) => published += u64::from(done),
                    // Somebody removed the file, which its next reader finds out.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => {
                        self.trouble("publish", &metafile::path(&id), &e);
                        let mut state = self.state();
                        state.natives.missed = true;
                        state.natives.give_up();
                        return published;
                    }
                }
            }
        }
        published
    }

    /// Makes the directory of published files once; whether it is there.
    fn prepare_natives(&self) -> bool {
        if !self.state().natives.ready {
            let ready = self.published().is_some();
            self.state().natives.ready = ready;
        }
        self.state().natives.ready
    }

    /// Takes up what may be published among the next objects of the walk under way; `false` when there is none.
    fn walk_on(&self, sets: &[Arc<Dataset>]) -> bool {
        let mut state = self.state();
        let Some(next) = state.natives.walk else { return false };
        let end = state.objects.bounds().0;
        let after = end.min(next.saturating_add(CHUNK));
        let ready: Vec<Key> = (next..after).map(Key::Small).filter(|key| is_ready(&state, *key)).collect();
        for key in ready {
            let Some(set) = sets.get(usize::from(state.objects.set_of(key))).filter(|set| set.publishes()) else { continue };
            if set.room() == Room::Plenty {
                let id = *state.objects.id_of(key);
                state.natives.push(id);
            } else {
                state.natives.missed = true;
            }
        }
        state.natives.walk = Some(after).filter(|after| *after < end);
        true
    }

    /// Publishes a small object, if it is complete and verified and its Dataset has room to spare; whether it was.
    fn publish_small(&self, id: ObjectId, sets: &[Arc<Dataset>]) -> io::Result<bool> {
        // Under the stripe nothing of it comes or goes.
        let _stripe = self.shared.stripe(&id);
        {
            let mut state = self.state();
            let Some(key) = state.objects.find(&id).filter(|key| is_ready(&state, *key)) else { return Ok(false) };
            let set = sets.get(usize::from(state.objects.set_of(key))).filter(|set| set.publishes());
            let Some(set) = set.filter(|_| !self.shared.is_closed()) else { return Ok(false) };
            if set.room() != Room::Plenty {
                state.natives.missed = true;
                return Ok(false);
            }
            // Before it can be found: who evicts it asks the kernel.
            state.objects.flag(key, LENT, true);
        }
        self.io.publish(&metafile::path(&id))?;
        let mut state = self.state();
        if let Some(key) = state.objects.find(&id) {
            state.mark_native(key, true);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ObjectId = ObjectId([7; 32]);

    #[test]
    fn what_the_queue_has_no_room_for_is_found_by_a_walk() {
        let mut natives = Natives::default();
        (0..WAITING).for_each(|_| natives.push(ID));
        assert_eq!((natives.waiting.len(), natives.walk), (WAITING, None));
        natives.push(ID);
        assert_eq!((natives.waiting.len(), natives.walk), (WAITING, Some(0)));
        assert_eq!((natives.take(10).len(), natives.take(WAITING).len(), natives.take(1).len()), (10, WAITING - 10, 0));
    }

    #[test]
    fn what_found_no_room_is_looked_at_again_but_not_all_the_time() {
        let mut natives = Natives::default();
        natives.give_up();
        natives.try_again(WALK_AGAIN);
        assert!(natives.is_idle() && natives.walk.is_none(), "nothing was given up");
        natives.push(ID);
        natives.give_up();
        assert!(natives.waiting.is_empty() && !natives.is_idle());
        natives.try_again(WALK_AGAIN);
        assert_eq!(natives.walk, Some(0));
        natives.give_up();
        natives.try_again(2 * WALK_AGAIN - 1);
        assert_eq!(natives.walk, None);
        natives.try_again(2 * WALK_AGAIN);
        assert_eq!(natives.walk, Some(0));
    }

    #[test]
    fn taking_out_goes_on_where_it_was_until_there_is_room() {
        let mut natives = Natives::default();
        assert_eq!((natives.take_on(&[]), natives.take_on(&[false, false])), (None, None));
        assert_eq!(natives.take_on(&[false, true]), Some(0));
        natives.taking = Some(7);
        natives.loose = true;
        assert_eq!((natives.take_on(&[false, true]), natives.loose), (Some(7), true));
        assert_eq!(natives.take_on(&[true, true]), Some(0), "of others too");
        assert!(!natives.loose);
        natives.taking = None;
        assert_eq!(natives.take_on(&[true, true]), None, "all was looked at");
        natives.loose = true;
        assert_eq!(natives.take_on(&[true, true]), Some(0));
        natives.taking = Some(7);
        assert_eq!((natives.take_on(&[false, false]), natives.take_on(&[true, true])), (None, Some(0)));
    }

    #[test]
    fn only_what_nobody_pins_is_looked_for_to_be_taken_out() {
        let mut natives = Natives::default();
        natives.changed(true, true);
        assert_eq!((natives.count(), natives.loose), (1, false));
        natives.changed(true, false);
        assert_eq!((natives.count(), natives.loose), (2, true));
        natives.changed(false, false);
        natives.loose = false;
        natives.loosened();
        assert_eq!((natives.count(), natives.loose), (1, true));
    }
}
