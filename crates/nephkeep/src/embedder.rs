//! What makes vectors of texts, as the settings say: `[embedder]`, and `[embedder.next]` for a migration to another.

use model::{Class, Error, Result};
use serde::Deserialize;
use std::{path::Path, sync::Arc, time::Duration};
use stores::embed::{ApiKey, Embedder, HashEmbedder, HttpEmbedder, HttpOptions, Key, WideHashEmbedder};

/// Holds a key itself; never a setting, and shown nowhere.
pub const KEY_VARIABLE: &str = "NEPHKEEP_EMBEDDER_KEY";
const VARIABLES: &str = "NEPHKEEP_EMBEDDER_";
const NEXT_VARIABLES: &str = "NEPHKEEP_EMBEDDER_NEXT_";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    Hash,
    WideHash,
    Http(Box<HttpOptions>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    url: Option<String>,
    model: Option<String>,
    dimensions: Option<u32>,
    answers_as: Option<String>,
    asks_dimensions: Option<bool>,
    key_file: Option<String>,
    batch: Option<u32>,
    lanes: Option<u32>,
    requests_per_minute: Option<u32>,
    timeout_seconds: Option<u32>,
    class_max: Option<String>,
    next: Option<Box<Draft>>,
}

fn malformed(what: &str) -> Error {
    Error::invalid("settings-malformed", what)
}

fn parsed<T: std::str::FromStr>(name: &str, text: &str) -> Result<T> {
    let wrong = || malformed("this setting of the embedder cannot be read").with("variable", name).with("value", text);
    text.parse().map_err(|_| wrong())
}

impl Draft {
    /// Whether the variable is one of an embedder's; it is taken then.
    pub fn take(&mut self, variable: &str, value: &str) -> Result<bool> {
        if let Some(key) = variable.strip_prefix(NEXT_VARIABLES) {
            return self.next.get_or_insert_default().set(key, variable, value);
        }
        variable.strip_prefix(VARIABLES).map_or(Ok(false), |key| self.set(key, variable, value))
    }

    fn set(&mut self, key: &str, variable: &str, value: &str) -> Result<bool> {
        let text = || Some(value.to_owned());
        match key {
            "URL" => self.url = text(),
            "MODEL" => self.model = text(),
            "DIMENSIONS" => self.dimensions = Some(parsed(variable, value)?),
            "ANSWERS_AS" => self.answers_as = text(),
            "ASKS_DIMENSIONS" => self.asks_dimensions = Some(parsed(variable, value)?),
            "KEY_FILE" => self.key_file = text(),
            "BATCH" => self.batch = Some(parsed(variable, value)?),
            "LANES" => self.lanes = Some(parsed(variable, value)?),
            "REQUESTS_PER_MINUTE" => self.requests_per_minute = Some(parsed(variable, value)?),
            "TIMEOUT_SECONDS" => self.timeout_seconds = Some(parsed(variable, value)?),
            "CLASS_MAX" => self.class_max = text(),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The embedder, and the one to migrate to. A key given by the variable is for both.
    pub fn settle(mut self, base: &Path, key: Option<&str>) -> Result<(Choice, Option<Choice>)> {
        let next = self.next.take().map(|next| next.choice(base, key)).transpose();
        Ok((self.choice(base, key)?, next.map_err(|error| error.with("table", "embedder.next"))?))
    }

    fn choice(self, base: &Path, key: Option<&str>) -> Result<Choice> {
        let url = self.url.as_deref().unwrap_or("hash:384");
        let offline = match url {
            "hash:384" => Choice::Hash,
            "hash:1536" => Choice::WideHash,
            _ => return self.http(base, key),
        };
        let only_http = self.model.is_some() || self.dimensions.is_some() || self.key_file.is_some();
        if only_http || self.next.is_some() {
            return Err(malformed(
                "an offline embedder (hash:384, hash:1536) has neither model, dimensions nor key_file",
            ));
        }
        Ok(offline)
    }

    fn http(self, base: &Path, key: Option<&str>) -> Result<Choice> {
        let url = self.url.unwrap_or_default();
        let (Some(model), Some(dimensions)) = (self.model, self.dimensions) else {
            return Err(malformed("an embedder with a url needs embedder.model and embedder.dimensions"));
        };
        let mut options = HttpOptions::new(&url, &model, usize::try_from(dimensions).unwrap_or(usize::MAX));
        let within = |name: &str, given: Option<u32>, default: usize, most: u32| match given {
            None => Ok(default),
            Some(given) if (1..=most).contains(&given) => Ok(given as usize),
            Some(given) => {
                Err(malformed("a number of the embedder is out of range").with("setting", name).with("value", given))
            }
        };
        options.batch = within("embedder.batch", self.batch, options.batch, 2_048)?;
        options.lanes = within("embedder.lanes", self.lanes, options.lanes, 32)?;
        let seconds = within("embedder.timeout_seconds", self.timeout_seconds, 30, 600)?;
        options.timeout = Duration::from_secs(seconds as u64);
        options.requests_per_minute = self.requests_per_minute.unwrap_or(0);
        options.answers_as = self.answers_as;
        options.asks_dimensions = self.asks_dimensions.unwrap_or(false);
        options.key = match (self.key_file, key) {
            (Some(path), _) => Key::File(base.join(path)),
            (None, Some(key)) => Key::Given(ApiKey::read(key)?),
            (None, None) => Key::None,
        };
        if let Some(class) = self.class_max {
            options.class_max = class.parse().map_err(|error: Error| error.with("setting", "embedder.class_max"))?;
            if options.class_max == Class::Restricted {
                return Err(malformed(
                    "restricted texts are given to nobody; embedder.class_max is confidential at most",
                ));
            }
        }
        options.endpoint()?;
        Ok(Choice::Http(Box::new(options)))
    }
}

impl Choice {
    /// On the runtime that its requests will run on. Nothing is asked yet: a server that is away keeps nobody from
    /// starting.
    pub fn embedder(&self) -> Result<Arc<dyn Embedder>> {
        Ok(match self {
            Self::Hash => Arc::new(HashEmbedder),
            Self::WideHash => Arc::new(WideHashEmbedder),
            Self::Http(options) => Arc::new(HttpEmbedder::new(HttpOptions::clone(options))?),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn settled(text: &str, key: Option<&str>) -> Result<(Choice, Option<Choice>)> {
        toml::from_str::<Draft>(text).unwrap().settle(Path::new("/base"), key)
    }

    fn http(choice: Choice) -> HttpOptions {
        let Choice::Http(options) = choice else { panic!("{choice:?}") };
        *options
    }

    #[test]
    fn an_embedder_is_lexical_unless_a_server_is_named_with_its_model() {
        assert_eq!(settled("", None).unwrap(), (Choice::Hash, None));
        let both = "url = \"hash:384\"\n[next]\nurl = \"hash:1536\"";
        assert_eq!(settled(both, None).unwrap(), (Choice::Hash, Some(Choice::WideHash)));
        let server = "url = \"https://h/v1\"\nmodel = \"m\"\ndimensions = 1536\n";
        let options =
            http(settled(&format!("{server}key_file = \"key\"\nclass_max = \"confidential\""), Some("k")).unwrap().0);
        assert_eq!((options.key, options.class_max), (Key::File("/base/key".into()), Class::Confidential));
        let options = http(settled(server, Some("sk-secret")).unwrap().0);
        assert!(matches!(options.key, Key::Given(_)) && !format!("{options:?}").contains("secret"));
        assert_eq!(options.class_max, Class::Internal);
        for (text, code) in [
            ("url = \"https://h/v1\"", "settings-malformed"),
            ("url = \"hash:512\"", "settings-malformed"),
            ("model = \"m\"", "settings-malformed"),
            (&*server.replace("https://h", "http://h"), "settings-malformed"),
            (&*server.replace("https://h", "https://u:p@h"), "secret-in-settings"),
            (&*format!("{server}batch = 0"), "settings-malformed"),
            (&*format!("{server}class_max = \"restricted\""), "settings-malformed"),
            (&*format!("{server}class_max = \"secret\""), "class-unknown"),
            ("[next]\nurl = \"https://h\"", "settings-malformed"),
        ] {
            assert_eq!(settled(text, None).unwrap_err().code(), code, "{text}");
        }
    }

    #[test]
    fn every_key_has_a_variable() {
        let mut draft = Draft::default();
        for (name, value) in [("URL", "https://h/v1"), ("MODEL", "m"), ("DIMENSIONS", "8"), ("ANSWERS_AS", "n")]
            .into_iter()
            .chain([("ASKS_DIMENSIONS", "true"), ("KEY_FILE", "k"), ("BATCH", "2"), ("LANES", "3")])
            .chain([("REQUESTS_PER_MINUTE", "60"), ("TIMEOUT_SECONDS", "5"), ("CLASS_MAX", "public")])
        {
            assert!(draft.take(&format!("{VARIABLES}{name}"), value).unwrap());
            assert!(draft.take(&format!("{NEXT_VARIABLES}{name}"), value).unwrap());
        }
        assert!(!draft.take("NEPHKEEP_EMBEDDER_COLOUR", "red").unwrap());
        assert_eq!(draft.take("NEPHKEEP_EMBEDDER_BATCH", "many").unwrap_err().code(), "settings-malformed");
        let (one, next) = draft.settle(Path::new("/base"), None).unwrap();
        assert_eq!(Some(one.clone()), next);
        let options = http(one);
        assert_eq!((options.batch, options.lanes, options.requests_per_minute, options.dimensions), (2, 3, 60, 8));
        assert_eq!((options.timeout, options.class_max), (Duration::from_secs(5), Class::Public));
    }
}
