//! Nephoran `NetworkIntent` custom resources: checked as their definitions say, mapped to TMF921 intents.
//!
//! Two different kinds share the name: `nephoran.com/v1` holds a sentence (`spec.intent`), `intent.nephoran.com/v1alpha1`
//! a structured target. Both are held against their definitions. Other versions of these groups and their `.io`
//! spellings have no published definition: they are taken when they hold a sentence or a target. The mapping
//! (docs/guide/mapping.md) keeps the whole resource as the value of the expression.

use crate::draft::{Draft, NETWORK_INTENT};
use crate::json::place::Wrong;
use crate::{Error, Json, Result};
use uuid::Uuid;

/// Names the intents made of custom resources; never changes.
const RESOURCES: Uuid = Uuid::from_u128(0x8a52_10d3_4c5e_5b8f_a0b7_63f1_2d9e_7c44);

const SENTENCE_MAX_CHARS: usize = 1_000;
/// For versions without a definition.
const UNDEFINED_MAX_CHARS: usize = 10_000;
const LEVELS: &[&str] = &["low", "medium", "high", "critical"];

/// Which definition a resource is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Definition {
    /// `nephoran.com/v1`
    Sentence,
    /// `intent.nephoran.com/v1alpha1`
    Target,
    /// A version of these groups without a definition.
    Undefined,
}

enum Is {
    Text,
    Flag,
    Whole(i64, i64),
    OneOf(&'static [&'static str]),
    Texts,
    Object,
    /// A Kubernetes quantity: the definition says `x-kubernetes-int-or-string`.
    Quantity,
}

const INT32: i64 = i32::MAX as i64;

const TARGET_FIELDS: &[(&[&str], Is)] = &[
    (&["source"], Is::Text),
    (&["intentType"], Is::Text),
    (&["target"], Is::Text),
    (&["namespace"], Is::Text),
    (&["replicas"], Is::Whole(0, INT32)),
    (&["scalingParameters"], Is::Object),
    (&["scalingParameters", "replicas"], Is::Whole(0, INT32)),
    (&["scalingParameters", "autoscalingPolicy"], Is::Object),
    (&["scalingParameters", "autoscalingPolicy", "minReplicas"], Is::Whole(0, INT32)),
    (&["scalingParameters", "autoscalingPolicy", "maxReplicas"], Is::Whole(1, INT32)),
    (&["networkParameters"], Is::Object),
    (&["networkParameters", "networkSliceId"], Is::Text),
    (&["networkParameters", "qosProfile"], Is::Object),
    (&["networkParameters", "qosProfile", "priority"], Is::Whole(0, INT32)),
    (&["networkParameters", "qosProfile", "maximumDataRate"], Is::Text),
];

const SENTENCE_FIELDS: &[(&[&str], Is)] = &[
    (&["intentType"], Is::Text),
    (&["networkSlice"], Is::Text),
    (&["priority"], Is::OneOf(LEVELS)),
    (&["region"], Is::Text),
    (&["targetCluster"], Is::Text),
    (&["targetNamespace"], Is::Text),
    (&["targetComponents"], Is::Texts),
    (&["processedParameters"], Is::Object),
    (&["processedParameters", "networkFunction"], Is::Text),
    (&["processedParameters", "region"], Is::Text),
    (&["processedParameters", "customParameters"], Is::Object),
    (&["processedParameters", "qosParameters"], Is::Object),
    (&["processedParameters", "qosParameters", "bandwidth"], Is::Text),
    (&["processedParameters", "qosParameters", "latency"], Is::Text),
    (&["processedParameters", "qosParameters", "serviceLevel"], Is::Text),
    (&["processedParameters", "qosParameters", "priority"], Is::OneOf(LEVELS)),
    (&["processedParameters", "scaleParameters"], Is::Object),
    (&["processedParameters", "scaleParameters", "autoScalingEnabled"], Is::Flag),
    (&["processedParameters", "scaleParameters", "minReplicas"], Is::Whole(1, INT32)),
    (&["processedParameters", "scaleParameters", "maxReplicas"], Is::Whole(1, INT32)),
    (&["processedParameters", "scaleParameters", "targetCPUUtilization"], Is::Whole(1, 100)),
    (&["processedParameters", "securityParameters"], Is::Object),
    (&["processedParameters", "securityParameters", "networkPolicies"], Is::Texts),
    (&["processedParameters", "securityParameters", "tlsEnabled"], Is::Flag),
    (&["processedParameters", "securityParameters", "serviceMesh"], Is::Flag),
    (&["resourceConstraints"], Is::Object),
    (&["resourceConstraints", "cpu"], Is::Quantity),
    (&["resourceConstraints", "maxCpu"], Is::Quantity),
    (&["resourceConstraints", "memory"], Is::Quantity),
    (&["resourceConstraints", "maxMemory"], Is::Quantity),
    (&["resourceConstraints", "storage"], Is::Quantity),
    (&["resourceConstraints", "networkBandwidth"], Is::Quantity),
    (&["resourceConstraints", "maxConcurrency"], Is::Whole(1, INT32)),
];

fn wrong(message: impl Into<String>) -> Wrong {
    Wrong::new("network-intent-malformed", message)
}

/// Whether a document looks like a Kubernetes object at all.
#[must_use]
pub fn is_resource(value: &Json) -> bool {
    value.get("apiVersion").is_some() && value.get("kind").is_some()
}

/// The TMF921 intent (a body for [`crate::tmf921::create`]) a custom resource stands for.
pub fn mapped(resource: &Json) -> Result<Json> {
    Ok(draft(resource)?.finish())
}

pub(crate) fn draft(resource: &Json) -> Result<Draft> {
    let definition = definition(resource)?;
    let name = metadata(resource)?;
    let spec = resource.get("spec").ok_or_else(|| wrong("spec is required; add it").under("spec"))?;
    if spec.as_object().is_none() {
        return Err(wrong(format!("an object is expected here, not {}", spec.type_name())).under("spec").into());
    }
    match definition {
        Definition::Sentence => sentence(spec)?,
        Definition::Target => fields(spec, TARGET_FIELDS)?,
        Definition::Undefined => undefined(spec)?,
    }
    let text = |path: &[&str]| resource.dig(path).and_then(Json::as_str);
    let told = said(spec).map_or_else(|| told(spec), str::to_owned);
    let priority = spec.get("priority").or_else(|| spec.dig(&["networkParameters", "qosProfile", "priority"]));
    let slice = text(&["spec", "networkSlice"]).or_else(|| text(&["spec", "networkParameters", "networkSliceId"]));
    Ok(Draft::new(name, NETWORK_INTENT, resource.clone())
        .text("description", Some(&told))
        .text("context", text(&["spec", "intentType"]))
        .priority(priority)
        .characteristic("apiVersion", text(&["apiVersion"]))
        .characteristic("namespace", text(&["metadata", "namespace"]))
        .characteristic("networkSlice", slice))
}

/// The id of the intent of a custom resource: the same object posted twice is the same intent.
pub fn stable_id(resource: &Json) -> Result<String> {
    let group = resource.get("apiVersion").and_then(Json::as_str).and_then(|version| version.split('/').next());
    let namespace = resource.dig(&["metadata", "namespace"]).and_then(Json::as_str).unwrap_or("default");
    let name = format!("{}\n{namespace}\n{}", group.unwrap_or_default(), metadata(resource)?);
    Ok(Uuid::new_v5(&RESOURCES, name.as_bytes()).to_string())
}

fn definition(resource: &Json) -> Result<Definition> {
    let kind = resource.get("kind").and_then(Json::as_str).unwrap_or_default();
    if kind != "NetworkIntent" {
        return Err(wrong("only the kind NetworkIntent is an intent").under("kind").into());
    }
    let version = resource.get("apiVersion").and_then(Json::as_str).unwrap_or_default();
    match version.split_once('/') {
        _ if version == "nephoran.com/v1" => Ok(Definition::Sentence),
        _ if version == "intent.nephoran.com/v1alpha1" => Ok(Definition::Target),
        Some((
            "nephoran.com" | "intent.nephoran.com" | "nephoran.io" | "intent.nephoran.io",
            "v1" | "v1alpha1" | "v1beta1",
        )) => Ok(Definition::Undefined),
        _ => {
            let message = "apiVersion is a group of nephoran.com, intent.nephoran.com, nephoran.io or intent.nephoran.io \
                           with a version v1, v1alpha1 or v1beta1";
            Err(wrong(message).under("apiVersion").into())
        }
    }
}

/// Checks `metadata` and gives the name.
fn metadata(resource: &Json) -> Result<&str> {
    let under = |name: &str, message: &str| Error::from(wrong(message).under(name).under("metadata"));
    let name = resource.dig(&["metadata", "name"]).and_then(Json::as_str).unwrap_or_default();
    if name.is_empty() || name.len() > 253 || name.chars().any(char::is_control) {
        return Err(under("name", "a name of 1 to 253 bytes without control characters is required"));
    }
    if resource.dig(&["metadata", "namespace"]).is_some_and(|namespace| namespace.as_str().is_none()) {
        return Err(under("namespace", "a namespace is a string"));
    }
    Ok(name)
}

/// The rule of the definition, which keeps commands and markup out of what operators execute.
fn sentence(spec: &Json) -> Result<()> {
    let intent = spec.get("intent").and_then(Json::as_str).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || c.is_whitespace() || "-_.,;:()[]".contains(c);
    let under = |message: String| Error::from(wrong(message).under("intent").under("spec"));
    if intent.is_empty() || intent.chars().count() > SENTENCE_MAX_CHARS {
        return Err(under(format!("a sentence of 1 to {SENTENCE_MAX_CHARS} characters is required")));
    }
    if let Some(other) = intent.chars().find(|c| !plain(*c)) {
        return Err(under(format!(
            "the character {other:?} is not allowed; use letters, digits, spaces and - _ . , ; : ( ) [ ]"
        )));
    }
    fields(spec, SENTENCE_FIELDS)
}

fn undefined(spec: &Json) -> Result<()> {
    if let Some(text) = said(spec)
        && !text.is_empty()
        && text.chars().count() <= UNDEFINED_MAX_CHARS
    {
        return Ok(());
    }
    let target = spec.get("target").and_then(Json::as_str).is_some_and(|target| !target.is_empty());
    if target {
        return fields(spec, TARGET_FIELDS);
    }
    let message = format!("spec needs a sentence (intent, at most {UNDEFINED_MAX_CHARS} characters) or a target");
    Err(wrong(message).under("spec").into())
}

/// The sentence of a resource, in the places where versions keep it.
fn said(spec: &Json) -> Option<&str> {
    ["intent", "naturalLanguageIntent"].iter().find_map(|name| spec.get(name).and_then(Json::as_str))
}

/// A sentence for a structured target.
fn told(spec: &Json) -> String {
    let text = |name: &str| spec.get(name).and_then(Json::as_str);
    let mut told =
        format!("{} of {}", text("intentType").unwrap_or("intent"), text("target").unwrap_or("a network function"));
    if let Some(namespace) = text("namespace") {
        told.push_str(&format!(" in {namespace}"));
    }
    if let Some(replicas) = spec.get("replicas").and_then(Json::as_number) {
        told.push_str(&format!(" to {replicas} replicas"));
    }
    told
}

fn fields(spec: &Json, fields: &[(&[&str], Is)]) -> Result<()> {
    for (path, is) in fields {
        if let Some(value) = spec.dig(path)
            && let Some(expected) = is.mismatch(value)
        {
            let refused = wrong(format!("{expected} is expected here"));
            return Err(path.iter().rev().fold(refused, |refused, name| refused.under(name)).under("spec").into());
        }
    }
    Ok(())
}

impl Is {
    /// What was expected, when the value is something else.
    fn mismatch(&self, value: &Json) -> Option<String> {
        let texts = |items: &[Json]| items.iter().all(|item| item.as_str().is_some());
        let (fits, expected) = match self {
            Self::Text => (value.as_str().is_some(), "a string".to_owned()),
            Self::Flag => (value.as_bool().is_some(), "true or false".to_owned()),
            Self::Whole(low, high) => (
                value.as_i64().is_some_and(|number| (*low..=*high).contains(&number)),
                format!("a whole number from {low} to {high}"),
            ),
            Self::OneOf(words) => {
                (value.as_str().is_some_and(|word| words.contains(&word)), format!("one of {}", words.join(", ")))
            }
            Self::Texts => (value.as_array().is_some_and(texts), "an array of strings".to_owned()),
            Self::Object => (value.as_object().is_some(), "an object".to_owned()),
            Self::Quantity => (
                value.as_i64().is_some() || value.as_str().is_some_and(is_quantity),
                "a quantity such as 500m or 2Gi".to_owned(),
            ),
        };
        (!fits).then_some(expected)
    }
}

fn is_quantity(text: &str) -> bool {
    let number = text.trim_start_matches(['+', '-']);
    let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
    let (number, suffix) = number.split_at(end);
    let suffixed = suffix.len() <= 4 && suffix.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-'));
    number.bytes().any(|b| b.is_ascii_digit()) && number.matches('.').count() <= 1 && suffixed
}

#[cfg(test)]
mod tests;
