//! The query string, decoded strictly: our own parameters at most once, every number a number.

use model::{Error, Result, select};

/// Decoded pairs in the order they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

const PARAMETERS_MAX: usize = 64;

impl Query {
    pub fn parse(raw: Option<&str>) -> Result<Self> {
        let Some(raw) = raw.filter(|raw| !raw.is_empty()) else { return Ok(Self::default()) };
        let pairs = select::pairs(raw)?;
        if pairs.len() > PARAMETERS_MAX {
            return Err(Error::invalid("parameters-too-many", "a query has at most 64 parameters"));
        }
        Ok(Self(pairs))
    }

    pub fn take(&mut self, name: &'static str) -> Result<Option<String>> {
        let Some(at) = self.0.iter().position(|(known, _)| known == name) else { return Ok(None) };
        let (_, value) = self.0.remove(at);
        if self.0.iter().any(|(known, _)| known == name) {
            return Err(Error::invalid("parameter-repeated", "send this parameter once").with("parameter", name));
        }
        Ok(Some(value))
    }

    pub fn take_number<T: std::str::FromStr>(&mut self, name: &'static str) -> Result<Option<T>> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = if digits { text.parse().ok() } else { None };
        number.map(Some).ok_or_else(|| {
            let rule = "this parameter is a whole number that is not negative";
            Error::invalid("parameter-malformed", rule).with("parameter", name)
        })
    }

    /// For surfaces without free filters: anything not taken is a mistake worth telling.
    pub fn finish(self, known: &str) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                let shown: String = name.chars().take(80).collect();
                let told = format!("the parameters here are: {known}");
                Err(Error::invalid("parameter-unknown", told).with("parameter", shown))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::select::encode;
    use proptest::prelude::*;

    #[test]
    fn parameters_are_decoded_taken_and_the_rest_is_named() {
        let mut query = Query::parse(Some("fields=a%2Cb&limit=10&name=x+y&name=z")).unwrap();
        assert_eq!(query.take("fields").unwrap().as_deref(), Some("a,b"));
        assert_eq!(query.take_number::<u32>("limit").unwrap(), Some(10));
        assert_eq!(query.finish("fields").unwrap_err().fact("parameter"), Some("name"));
    }

    #[test]
    fn broken_parameters_are_refused() {
        assert!(Query::parse(Some("a=%ff")).is_err());
        let mut twice = Query::parse(Some("limit=1&limit=2")).unwrap();
        assert_eq!(twice.take("limit").unwrap_err().code(), "parameter-repeated");
        for bad in ["-1", "+1", "", "1.0", "99999999999999999999"] {
            let mut query = Query::parse(Some(&format!("limit={}", encode(bad)))).unwrap();
            assert_eq!(query.take_number::<u32>("limit").unwrap_err().code(), "parameter-malformed", "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(text in ".+") {
            let mut query = Query::parse(Some(&format!("x={}", encode(&text)))).unwrap();
            prop_assert_eq!(query.take("x").unwrap(), Some(text));
        }
        #[test]
        fn no_query_panics(raw in ".*") {
            let _ = Query::parse(Some(&raw));
        }
    }
}
