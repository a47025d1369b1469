use std::collections::HashMap;

use crate::ObjectId;

/// The Datasets that pin the pinned objects of a tier. Nearly every pin is the owner's and nobody else's: such have no entry, so that a
/// million of them cost nothing here.
///
/// A file says that its object is pinned, and not by whom: what a start finds is taken to be pinned by its owner until the Datasets pin
/// anew, which they do at each start.
#[derive(Default)]
pub(crate) struct Pinners(HashMap<ObjectId, Vec<u16>>);

impl Pinners {
    /// Whether a Dataset is among those that pin a pinned object.
    pub(crate) fn has(&self, id: &ObjectId, owner: u16, set: u16) -> bool {
        self.0.get(id).map_or(set == owner, |sets| sets.contains(&set))
    }

    /// All that pin a pinned object.
    pub(crate) fn of(&self, id: &ObjectId, owner: u16) -> Vec<u16> {
        self.0.get(id).cloned().unwrap_or_else(|| vec![owner])
    }

    /// Adds one to those that pin a pinned object.
    pub(crate) fn add(&mut self, id: ObjectId, owner: u16, set: u16) {
        if !self.has(&id, owner, set) {
            let mut sets = self.take(&id, owner);
            sets.push(set);
            self.put(id, owner, sets);
        }
    }

    /// Takes one out of those that pin a pinned object; how many are left, or `None` when it was not among them.
    pub(crate) fn remove(&mut self, id: ObjectId, owner: u16, set: u16) -> Option<usize> {
        if !self.has(&id, owner, set) {
            return None;
        }
        let mut sets = self.take(&id, owner);
        sets.retain(|other| *other != set);
        let left = sets.len();
        self.put(id, owner, sets);
        Some(left)
    }

    /// Takes all out that pin a pinned object.
    pub(crate) fn take(&mut self, id: &ObjectId, owner: u16) -> Vec<u16> {
        self.0.remove(id).unwrap_or_else(|| vec![owner])
    }

    /// Says who pins an object; nobody when it is not pinned any more.
    pub(crate) fn put(&mut self, id: ObjectId, owner: u16, sets: Vec<u16>) {
        if sets.is_empty() || sets == [owner] {
            self.0.remove(&id);
        } else {
            self.0.insert(id, sets);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ObjectId = ObjectId([7; 32]);
    const OTHER: ObjectId = ObjectId([8; 32]);

    #[test]
    fn without_an_entry_the_owner_pins_it() {
        let mut pinners = Pinners::default();
        assert!(pinners.has(&ID, 3, 3) && !pinners.has(&ID, 3, 4));
        assert_eq!((pinners.of(&ID, 3), pinners.remove(ID, 3, 4)), (vec![3], None));
        pinners.add(ID, 3, 3);
        assert!(pinners.0.is_empty());
        assert_eq!(pinners.remove(ID, 3, 3), Some(0));
        assert!(pinners.0.is_empty(), "nobody pins it, which its flag says");
    }

    #[test]
    fn each_counts_once_and_the_owner_alone_has_no_entry() {
        let mut pinners = Pinners::default();
        for set in [4, 3, 4, 5] {
            pinners.add(ID, 3, set);
        }
        assert_eq!((pinners.of(&ID, 3), pinners.of(&OTHER, 3)), (vec![3, 4, 5], vec![3]));
        assert_eq!((pinners.remove(ID, 3, 4), pinners.remove(ID, 3, 4)), (Some(2), None));
        assert_eq!((pinners.remove(ID, 3, 5), pinners.0.len()), (Some(1), 0));
        assert!(pinners.has(&ID, 3, 3));
    }

    #[test]
    fn others_pin_it_without_the_owner() {
        let mut pinners = Pinners::default();
        pinners.put(ID, 3, vec![4]);
        assert!(!pinners.has(&ID, 3, 3) && pinners.has(&ID, 3, 4));
        pinners.add(ID, 3, 5);
        assert_eq!(pinners.remove(ID, 3, 3), None);
        assert_eq!((pinners.remove(ID, 3, 4), pinners.remove(ID, 3, 5)), (Some(1), Some(0)));
        assert!(pinners.0.is_empty());
    }

    #[test]
    fn another_owner_changes_nothing_about_who_pins_it() {
        let mut pinners = Pinners::default();
        let sets = pinners.take(&ID, 3);
        pinners.put(ID, 4, sets);
        assert!(pinners.has(&ID, 4, 3) && !pinners.has(&ID, 4, 4));
        let sets = pinners.take(&ID, 4);
        pinners.put(ID, 3, sets);
        assert!(pinners.0.is_empty());
    }
}
