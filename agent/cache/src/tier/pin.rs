use std::io;

use super::objects::{Key, PINNED, SEEN, SIDECAR};
use super::{Name, Phase, Reservation, State, Stripe, Tier, charge, metafile};
use crate::id::block_count;
use crate::io::Mode;
use crate::meta::Header;
use crate::{ObjectId, PinError};

impl Tier {
    /// Whether an object could be pinned here now, counting what others have pinned.
    pub(crate) fn pin_room(&self, name: Name) -> Result<(), PinError> {
        let state = self.state();
        if state.phase <= Phase::Loading {
            return Err(self.unavailable());
        }
        let needed = charge::whole(name.size);
        let limit = state.pin_limit();
        if state.account.pinned.saturating_add(needed) > limit {
            return Err(PinError::NoRoom { tier: self.name.to_string(), needed, pinned: state.account.pinned, limit });
        }
        // What no index entry claims may be pinned.
        if state.account.pinned + state.account.unknown.saturating_sub(state.account.claimed) + needed > limit {
            return Err(self.unavailable());
        }
        Ok(())
    }

    pub(crate) fn unavailable(&self) -> PinError {
        PinError::Unavailable { tier: self.name.to_string(), cause: self.last_error() }
    }

    /// Whether an object is pinned here.
    pub(crate) fn is_pinned(&self, name: Name, stripe: Option<&Stripe<'_>>) -> bool {
        self.with(name, stripe, |state, key| state.objects.is(key, PINNED)).unwrap_or(false)
    }

    /// Whether a Dataset pins an object here.
    pub(crate) fn is_pinned_by(&self, name: Name, set: u16) -> bool {
        self.with(name, None, |state, key| {
            state.objects.is(key, PINNED) && state.pinners.has(&name.id, state.objects.set_of(key), set)
        })
        .unwrap_or(false)
    }

    /// Whether an object is pinned here whose size nobody says. The caller holds its stripe.
    pub(crate) fn is_pinned_id(&self, id: ObjectId, stripe: &Stripe<'_>) -> bool {
        self.refresh_in(id, stripe);
        let state = self.state();
        state.objects.find(&id).is_some_and(|key| state.objects.is(key, PINNED))
    }

    /// What must be reserved before an object that is not here can be pinned: its file is made at once, so that the pin outlives
    /// this process even when nothing of the object has landed.
    pub(crate) fn placeholder_charge(name: Name) -> u64 {
        let blocks = block_count(name.size);
        if blocks <= 1 { charge::small(name.size) } else { charge::file(blocks) }
    }

    /// Pins an object that nobody pins. The caller holds its stripe, and a reservation when the object is not here.
    pub(crate) fn pin(
        &self,
        name: Name,
        set: u16,
        reservation: Option<Reservation<'_>>,
        _stripe: &Stripe<'_>,
    ) -> Result<(), PinError> {
        self.pin_room(name)?;
        if self.is_unsure(&name.id) {
            return Err(self.unavailable());
        }
        let dataset = self.shared.datasets.get(set);
        let path = metafile::path(&name.id);
        let known = {
            let state = self.state();
            state
                .objects
                .find(&name.id)
                .map(|key| (state.objects.is(key, SIDECAR), Self::birth(&state, key), state.objects.set_of(key)))
        };
        let owner = known.map_or(set, |(_, _, owner)| owner);
        let header = Header { size: name.size, dataset: self.shared.datasets.get(owner).tag, pinned: true };
        let written = match known {
            Some((sidecar, birth, _)) => self
                .file(&path, birth)
                .and_then(|file| metafile::set_header(&*self.io, &*file, &name.id, &path, sidecar, header))
                .map(|()| sidecar),
            None if reservation.is_some() => self.make_placeholder(name, &path, header),
            None => return Err(self.unavailable()),
        };
        let sidecar = written.map_err(|e| {
            self.fault("pin", &path, &e);
            self.unavailable()
        })?;
        let mut state = self.state();
        let key = match state.objects.find(&name.id) {
            Some(key) => key,
            None => match state.add_object(name.id, name.size, set, SEEN, self.shared.tick()) {
                Some(key) => key,
                None => return Err(self.unavailable()),
            },
        };
        state.objects.flag(key, SIDECAR, sidecar);
        state.set_pinned(key, true);
        let owner = state.objects.set_of(key);
        state.pinners.put(name.id, owner, vec![set]);
        if let Some(reservation) = reservation {
            reservation.settle(&mut state);
        }
        dataset.pin(name.size);
        Ok(())
    }

    /// Adds a Dataset to those that pin an object here; whether it was not among them. Its room was promised to the first. The caller
    /// holds its stripe and has found it pinned.
    pub(crate) fn join(&self, name: Name, set: u16, _stripe: &Stripe<'_>) -> Result<bool, PinError> {
        let mut state = self.state();
        let Some(key) = state.objects.find(&name.id).filter(|key| state.objects.is(*key, PINNED)) else {
            return Err(self.unavailable());
        };
        let owner = state.objects.set_of(key);
        if state.pinners.has(&name.id, owner, set) {
            return Ok(false);
        }
        // Under the state's lock: a Dataset that is removed is retired before its pins are looked for.
        let dataset = self.shared.datasets.get(set);
        dataset.may_pin(name.size)?;
        state.pinners.add(name.id, owner, set);
        dataset.pin(name.size);
        Ok(true)
    }

    fn make_placeholder(&self, name: Name, path: &str, header: Header) -> io::Result<bool> {
        let make = || {
            let file = self.io.open(path, Mode::Replace)?;
            file.set_len(name.size)?;
            metafile::create(&*self.io, &*file, &name.id, path, header, block_count(name.size), &[])
        };
        make().inspect_err(|_| self.discard(path, Some(true), Self::placeholder_charge(name)))
    }

    /// Takes a Dataset's pin of an object off; whether it had one here. The caller holds its stripe.
    pub(crate) fn unpin(&self, name: Name, set: u16, stripe: &Stripe<'_>) -> bool {
        let mut state = self.state();
        let Some(key) = state.objects.find(&name.id).filter(|key| state.objects.is(*key, PINNED)) else { return false };
        let owner = state.objects.set_of(key);
        let Some(left) = state.pinners.remove(name.id, owner, set) else { return false };
        self.shared.datasets.get(set).unpin(state.objects.size_of(key));
        if left > 0 {
            return true;
        }
        state.set_pinned(key, false);
        let (sidecar, birth) = (state.objects.is(key, SIDECAR), Self::birth(&state, key));
        let empty = state.objects.present(key) == 0;
        drop(state);
        if empty {
            self.remove(name, &[], stripe, |_, _, _| false);
            return true;
        }
        let path = metafile::path(&name.id);
        let header = Header { size: name.size, dataset: self.shared.datasets.get(owner).tag, pinned: false };
        let written =
            self.file(&path, birth).and_then(|file| metafile::set_header(&*self.io, &*file, &name.id, &path, sidecar, header));
        if let Err(e) = written {
            // The pin is off in this process; after a restart the file may say otherwise, which only keeps it longer.
            self.fault("unpin", &path, &e);
        }
        true
    }

    /// The same, whatever the object's size is.
    pub(crate) fn unpin_id(&self, id: ObjectId, set: u16, stripe: &Stripe<'_>) -> bool {
        // Where its header is, only the file knows.
        self.refresh_in(id, stripe);
        let size = {
            let state = self.state();
            state.objects.find(&id).map(|key| state.objects.size_of(key))
        };
        size.is_some_and(|size| self.unpin(Name { id, size }, set, stripe))
    }

    /// Takes all pins of an object off in the table only, whoever made them: it goes, or its file says that there are none.
    pub(super) fn unpin_in(&self, state: &mut State, key: Key) {
        if state.objects.is(key, PINNED) {
            let (id, owner, size) = (*state.objects.id_of(key), state.objects.set_of(key), state.objects.size_of(key));
            state.set_pinned(key, false);
            for set in state.pinners.take(&id, owner) {
                self.shared.datasets.get(set).unpin(size);
            }
        }
    }

    pub(super) fn birth(state: &State, key: Key) -> Option<u64> {
        match key {
            Key::Small(_) => None,
            Key::Large(at) => Some(state.objects.large(at).birth),
        }
    }
}
