//! Which member reads which partitions: as even as can be, and what need not move stays where it is. Pure.

/// The new owner of each partition, as an index into `members`, from the present ones. Members are in a fixed order, so
/// that two servers that look at the same rows decide the same.
pub(super) fn assign(members: &[String], owners: &[Option<String>]) -> Vec<Option<usize>> {
    if members.is_empty() {
        return vec![None; owners.len()];
    }
    let (share, mut extra) = (owners.len() / members.len(), owners.len() % members.len());
    let mut held = vec![0_usize; members.len()];
    let mut new = Vec::with_capacity(owners.len());
    for owner in owners {
        let at = owner.as_ref().and_then(|owner| members.binary_search(owner).ok());
        let kept = at.filter(|at| held[*at] < share || (held[*at] == share && extra > 0));
        if let Some(at) = kept {
            if held[at] == share {
                extra -= 1;
            }
            held[at] += 1;
        }
        new.push(kept);
    }
    for owner in new.iter_mut().filter(|owner| owner.is_none()) {
        let least = (0..members.len()).min_by_key(|at| held[*at]).unwrap_or(0);
        held[least] += 1;
        *owner = Some(least);
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|at| format!("m{at:02}")).collect()
    }

    #[test]
    fn who_leaves_is_replaced_and_nothing_else_moves_but_what_must() {
        let owners: Vec<_> = [0, 0, 1, 1, 2, 2].map(|at| Some(names(3)[at].clone())).to_vec();
        let left = assign(&names(2), &owners);
        assert_eq!(left[..4], [Some(0), Some(0), Some(1), Some(1)]);
        assert_eq!((left[4], left[5]), (Some(0), Some(1)));
        assert_eq!(assign(&[], &owners), [None; 6]);
    }

    proptest! {
        #[test]
        fn shares_differ_by_one_at_most_and_as_much_stays_as_can(
            members in 1_usize..9, owners in prop::collection::vec(prop::option::of(0_usize..12), 0..40),
        ) {
            let members = names(members);
            let owners: Vec<_> = owners.iter().map(|at| at.map(|at| names(12)[at].clone())).collect();
            let new = assign(&members, &owners);
            let mut held = vec![0; members.len()];
            let mut stayed = vec![0; members.len()];
            for (owner, at) in owners.iter().zip(&new) {
                let at = at.unwrap();
                held[at] += 1;
                stayed[at] += usize::from(owner.as_ref() == Some(&members[at]));
            }
            prop_assert!(held.iter().max().unwrap() - held.iter().min().unwrap() <= 1);
            for (at, member) in members.iter().enumerate() {
                let had = owners.iter().filter(|owner| owner.as_ref() == Some(member)).count();
                prop_assert!(stayed[at] >= had.min(owners.len() / members.len()));
            }
            let again: Vec<_> = new.iter().map(|at| at.map(|at| members[at].clone())).collect();
            prop_assert_eq!(assign(&members, &again), new);
        }
    }
}
