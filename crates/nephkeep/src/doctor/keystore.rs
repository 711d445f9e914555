//! Whether the keystore at hand is the one that the directory was initialised with, and the one that the record demands.

use super::Finding;
use crate::layout::Layout;
use ledger::keystore_mark::Demand;
use model::Result;

const CHECK: &str = "keystore";

/// Its id and generation, as `keystore::look` found them.
type AtHand = Result<([u8; 16], u64)>;

/// By the directory's own word, also while nothing runs.
pub fn examine(layout: &Layout, at_hand: &AtHand) -> Finding {
    match at_hand {
        Err(error) => Finding::error(CHECK, error),
        Ok((id, generation)) if layout.keystore_id().exists() => {
            Finding::ok(CHECK, format!("{}, generation {generation}", hex::encode(id)))
        }
        Ok((id, _)) => {
            let found = format!(
                "{} is missing: whether {} is the directory's keystore cannot be checked",
                layout.keystore_id().display(),
                hex::encode(id)
            );
            Finding::warn(CHECK, found, "nephkeep up: the record knows its keystore, and the file is written again")
        }
    }
}

/// By the record's word, where it can be asked.
pub fn demanded(at_hand: &AtHand, demand: Demand) -> Finding {
    const CHECK: &str = "keystore of the record";
    let wanted = format!("{}, generation {} or newer", hex::encode(demand.keystore), demand.generation);
    match at_hand {
        Err(error) => Finding::error(CHECK, error),
        Ok((id, _)) if *id != demand.keystore => {
            let found = format!("the record demands {wanted}; at hand is {}", hex::encode(id));
            Finding::fail(CHECK, found, "nephkeep explain keystore-other")
        }
        Ok((_, generation)) if *generation < demand.generation => {
            let found = format!("the record demands {wanted}; at hand is generation {generation}");
            Finding::fail(CHECK, found, "nephkeep explain keystore-too-old")
        }
        Ok(_) => Finding::ok(CHECK, wanted),
    }
}
