//! How many vectors a filter lets through, without looking at any.

use super::table::Wanted;
use model::Class;

type ByClass = [usize; Class::ALL.len()];

#[derive(Debug, Default)]
pub struct Counts {
    all: ByClass,
    /// By source.
    of: Vec<ByClass>,
}

fn place(class: Class) -> usize {
    usize::from(class as u8)
}

impl Counts {
    pub fn add(&mut self, source: u32, class: Class, vectors: usize) {
        let source = source as usize;
        if self.of.len() <= source {
            self.of.resize(source + 1, ByClass::default());
        }
        self.all[place(class)] += vectors;
        self.of[source][place(class)] += vectors;
    }

    pub fn take(&mut self, source: u32, class: Class, vectors: usize) {
        let of = self.of.get_mut(source as usize).into_iter();
        for counts in of.chain([&mut self.all]) {
            counts[place(class)] = counts[place(class)].saturating_sub(vectors);
        }
    }

    pub fn matching(&self, wanted: Wanted) -> usize {
        let counts = match wanted.source {
            None => Some(&self.all),
            Some(source) => self.of.get(source as usize),
        };
        counts.map_or(0, |counts| counts[..=place(wanted.class_max)].iter().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_counted_by_class_and_source_and_taken_off_again() {
        let mut counts = Counts::default();
        counts.add(0, Class::Internal, 3);
        counts.add(2, Class::Internal, 4);
        counts.add(2, Class::Restricted, 5);
        let of = |counts: &Counts, class_max, source| counts.matching(Wanted { class_max, source });
        assert_eq!(of(&counts, Class::Public, None), 0);
        assert_eq!((of(&counts, Class::Internal, None), of(&counts, Class::Restricted, None)), (7, 12));
        assert_eq!((of(&counts, Class::Confidential, Some(2)), of(&counts, Class::Restricted, Some(2))), (4, 9));
        assert_eq!((of(&counts, Class::Restricted, Some(1)), of(&counts, Class::Restricted, Some(9))), (0, 0));
        counts.take(2, Class::Restricted, 5);
        assert_eq!((of(&counts, Class::Restricted, None), of(&counts, Class::Restricted, Some(2))), (7, 4));
    }
}
