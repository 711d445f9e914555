//! Stored numbers and bytes as the types of the model. A number that cannot be is a failure, never a default.

use bytes::Bytes;
use model::{Error, Result, Tenant};
use tokio_postgres::Row;

pub(crate) fn unsigned(value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_| negative(value))
}

pub(crate) fn unsigned_int(value: i32) -> Result<u32> {
    u32::try_from(value).map_err(|_| negative(i64::from(value)))
}

fn negative(value: i64) -> Error {
    Error::corrupt("row-malformed", "a stored number is negative and cannot be").with("value", value)
}

/// For parameters: positions and versions stay far below the sign bit.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn tag(row: &Row, column: usize) -> Result<[u8; 32]> {
    let bytes: &[u8] = row.get(column);
    // A fork and a barrier are about no document.
    if bytes.is_empty() {
        return Ok([0; 32]);
    }
    bytes.try_into().map_err(|_| {
        Error::corrupt("row-malformed", "a stored content tag has the wrong length").with("bytes", bytes.len())
    })
}

pub(crate) fn envelope(row: &Row, column: usize) -> Option<Bytes> {
    row.get::<_, Option<&[u8]>>(column).map(Bytes::copy_from_slice)
}

/// Rows of one tenant follow each other: its name is shared, not copied each time.
#[derive(Debug, Default)]
pub(crate) struct Tenants(Option<Tenant>);

impl Tenants {
    pub(crate) fn of(&mut self, row: &Row, column: usize) -> Result<Tenant> {
        let name: &str = row.get(column);
        if let Some(tenant) = self.0.as_ref().filter(|tenant| tenant.as_str() == name) {
            return Ok(tenant.clone());
        }
        let tenant = Tenant::new(name)
            .map_err(|e| Error::corrupt("row-malformed", "a stored tenant's name is malformed").caused_by(e))?;
        Ok(self.0.insert(tenant).clone())
    }
}
