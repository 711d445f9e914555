//! A query made to see one tenant only: the forced matcher is set into every selector of the syntax tree, and the text
//! sent on is printed from that tree. What cannot be printed and read back as the same tree is refused.

use super::{
    contract::{Contract, Retention},
    depth,
};
use model::{Error, Result, Tenant};
use promql_parser::{
    label::{METRIC_NAME, MatchOp, Matcher, Matchers},
    parser::{
        self, AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, MatrixSelector, VectorMatchCardinality,
        VectorSelector,
    },
    util::visitor::{ExprVisitorMut, walk_expr_mut},
};

/// The forced label.
pub const TENANT: &str = "tenant";
/// An always true matcher (no series has the label) that makes the governed engine ask the platform's too.
pub const SPAN: &str = "nephkeep_span";
/// Longer ones are not written by people.
pub const QUERY_BYTES: usize = 32 << 10;

/// What may be sent to an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scoped {
    pub text: String,
    pub reach: Reach,
}

/// Which engines hold what a query selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Of one class by the names in it (governed where it selects nothing).
    One(Retention),
    /// Both classes, or a selector without a plain name.
    Both,
}

impl Reach {
    /// The engine to ask.
    #[must_use]
    pub fn class(self) -> Retention {
        match self {
            Self::One(class) => class,
            Self::Both => Retention::Governed,
        }
    }

    fn join(this: Option<Self>, other: Self) -> Self {
        match this {
            None => other,
            Some(this) if this == other => this,
            Some(_) => Self::Both,
        }
    }
}

/// An expression of one tenant.
pub fn expression(query: &str, tenant: &Tenant) -> Result<Scoped> {
    let mut tree = parse(query)?;
    let mut found = Reaches(None);
    walk_expr_mut(&mut found, &mut tree)?;
    let reach = found.0.unwrap_or(Reach::One(Retention::Governed));
    walk_expr_mut(&mut Force { tenant, span: reach == Reach::Both }, &mut tree)?;
    let text = tree.to_string();
    let again = parse(&text).ok();
    if again.as_ref() != Some(&tree) {
        let what = "this expression cannot be limited to one tenant; write it in another way";
        return Err(Error::invalid("promql-unsupported", what));
    }
    Ok(Scoped { text, reach })
}

/// A series selector (`match[]`) of one tenant. Classes are asked one by one: it has no reach.
pub fn selector(text: &str, tenant: &Tenant) -> Result<String> {
    match parse(text)? {
        Expr::VectorSelector(VectorSelector { offset: None, at: None, .. }) => Ok(expression(text, tenant)?.text),
        _ => Err(malformed("match[] is a series selector, for example up{job=\"x\"}")),
    }
}

/// The selector of everything a tenant has.
#[must_use]
pub fn everything(tenant: &Tenant) -> String {
    format!("{{{}}}", forced(tenant))
}

/// Whether every selector of an engine's own rule names this tenant and no other.
#[must_use]
pub fn concerns(rule: &str, tenant: &Tenant) -> bool {
    let Ok(mut tree) = parse(rule) else { return false };
    let mut pinned = Pinned { tenant, all: true };
    walk_expr_mut(&mut pinned, &mut tree).is_ok() && pinned.all
}

fn parse(text: &str) -> Result<Expr> {
    if text.len() > QUERY_BYTES {
        return Err(malformed(&format!("an expression has at most {QUERY_BYTES} bytes")));
    }
    if depth::at_most(text) > depth::DEEPEST {
        return Err(malformed(&format!("an expression nests at most {} levels deep", depth::DEEPEST)));
    }
    parser::parse(text).map_err(|why| malformed(&why))
}

fn malformed(why: &str) -> Error {
    Error::invalid("promql-malformed", why.to_owned())
}

fn forced(tenant: &Tenant) -> Matcher {
    Matcher::new(MatchOp::Equal, TENANT, tenant.as_str())
}

/// The selector in a node, if it is one.
fn selected(node: &mut Expr) -> Option<&mut VectorSelector> {
    match node {
        Expr::VectorSelector(selector) | Expr::MatrixSelector(MatrixSelector { vs: selector, .. }) => Some(selector),
        _ => None,
    }
}

fn reach(selector: &VectorSelector) -> Reach {
    let plain = |matcher: &&Matcher| matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal;
    let name = selector.name.as_deref().or_else(|| Some(&*selector.matchers.matchers.iter().find(plain)?.value));
    match name {
        Some(name) => Reach::One(class_of(name)),
        None => Reach::Both,
    }
}

/// Where series of a name lie: ours by the contract, all others are governed.
#[must_use]
pub fn class_of(name: &str) -> Retention {
    Contract::ours().class_of(name).unwrap_or(Retention::Governed)
}

struct Reaches(Option<Reach>);

impl ExprVisitorMut for Reaches {
    type Error = Error;
    fn pre_visit(&mut self, node: &mut Expr) -> Result<bool> {
        if let Some(selector) = selected(node) {
            self.0 = Some(Reach::join(self.0, reach(selector)));
        }
        Ok(true)
    }
}

struct Force<'t> {
    tenant: &'t Tenant,
    span: bool,
}

impl ExprVisitorMut for Force<'_> {
    type Error = Error;
    fn pre_visit(&mut self, node: &mut Expr) -> Result<bool> {
        printable(node)?;
        let Some(selector) = selected(node) else { return Ok(true) };
        let Matchers { matchers, or_matchers } = &mut selector.matchers;
        if !or_matchers.is_empty() {
            return Err(malformed("\"or\" between label matchers is not known to Prometheus"));
        }
        matchers.push(forced(self.tenant));
        if self.span {
            matchers.push(Matcher::new(MatchOp::Equal, SPAN, ""));
        }
        // As they are printed, so that what is read back is equal.
        matchers.sort_by_cached_key(Matcher::to_string);
        Ok(true)
    }
}

/// What the tree may hold. `info()` reads a series it does not name; odd label names would be printed unquoted.
fn printable(node: &Expr) -> Result<()> {
    match node {
        Expr::Call(Call { func, .. }) if func.name == "info" => {
            Err(malformed("info() reads series that the expression does not name; join with on(...) instead"))
        }
        Expr::Aggregate(AggregateExpr { modifier: Some(modifier), .. }) => plain_modifier(modifier),
        Expr::Binary(BinaryExpr { modifier: Some(modifier), .. }) => {
            modifier.matching.as_ref().map_or(Ok(()), plain_modifier)?;
            match &modifier.card {
                VectorMatchCardinality::ManyToOne(labels) | VectorMatchCardinality::OneToMany(labels) => {
                    plain_labels(&labels.labels)
                }
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

fn plain_modifier(modifier: &LabelModifier) -> Result<()> {
    plain_labels(&modifier.labels().labels)
}

fn plain_labels(labels: &[String]) -> Result<()> {
    let plain = |label: &String| {
        label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !label.starts_with(|c: char| c.is_ascii_digit())
    };
    if labels.iter().all(plain) { Ok(()) } else { Err(malformed("a label to group or match by is a plain word")) }
}

struct Pinned<'t> {
    tenant: &'t Tenant,
    all: bool,
}

impl ExprVisitorMut for Pinned<'_> {
    type Error = Error;
    fn pre_visit(&mut self, node: &mut Expr) -> Result<bool> {
        if let Some(selector) = selected(node) {
            self.all &= selector.matchers.matchers.contains(&forced(self.tenant));
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn tenant() -> Tenant {
        Tenant::new("a").unwrap()
    }

    fn scoped(query: &str) -> Result<String> {
        expression(query, &tenant()).map(|scoped| scoped.text)
    }

    /// Expressions people write, with the number of selectors in each.
    const QUERIES: [(&str, usize); 24] = [
        ("up", 1),
        ("1", 0),
        ("-1 ^ 2", 0),
        ("NaN", 0),
        ("-Inf", 0),
        ("1e9 + 0x1f", 0),
        ("time() - up", 1),
        ("up{job=\"a\",x!~\"b|c\"}", 1),
        ("{__name__=~\"node_.*\"}", 1),
        ("{tenant=\"b\"}", 1),
        ("{\"up\", job='x'}", 1),
        ("rate(http_requests_total{code=~`5..`}[5m])", 1),
        ("sum by (job, instance) (rate(a[1m])) / on(job) group_left(x) b", 2),
        ("sum without(le) (a) unless ignoring(z) b or c and d", 4),
        ("histogram_quantile(0.9, sum by (le) (rate(d_bucket[10m])))", 1),
        ("max_over_time(rate(a[5m])[1h:1m])", 1),
        ("a offset 5m + b offset -1h", 2),
        ("a @ 1609746000 + b @ start() + rate(c[5m] @ end() offset 1m)", 3),
        ("topk(3, a) > bool 2", 1),
        ("label_replace(a, \"tenant\", \"b\", \"x\", \"(.*)\")", 1),
        ("absent(a{job=\"\\\"quoted\\\" \\\\ {b=1}\"})", 1),
        ("count_values(\"version\", a)", 1),
        ("-a * (b + -c) % 2", 3),
        ("predict_linear(a[1h], 4 * 3600) < 0", 1),
    ];

    #[test]
    fn every_selector_carries_the_tenant_and_the_rest_stays() {
        for (query, selectors) in QUERIES {
            let text = scoped(query).unwrap_or_else(|error| unreachable!("{query}: {error}"));
            assert_eq!(text.matches("tenant=\"a\"").count(), selectors, "{query} -> {text}");
        }
        assert_eq!(scoped("rate(up{job=\"x\"}[5m])").unwrap(), "rate(up{job=\"x\",tenant=\"a\"}[5m])");
    }

    #[test]
    fn names_tell_which_engine_to_ask() {
        let reach = |query: &str| expression(query, &tenant()).unwrap().reach;
        let platform = "nephkeep_record_batches_total";
        assert_eq!(reach("up + node_load1"), Reach::One(Retention::Governed));
        assert_eq!(reach(&format!("rate({platform}[5m])")), Reach::One(Retention::Platform));
        assert_eq!(reach("nephkeep_http_request_seconds_bucket"), Reach::One(Retention::Platform));
        assert_eq!(reach(&format!("{{__name__=\"{platform}\"}}")), Reach::One(Retention::Platform));
        assert_eq!(reach(&format!("{platform} / up")), Reach::Both);
        assert_eq!(reach("{job=\"x\"}"), Reach::Both);
        assert_eq!(scoped(&format!("{platform} / up")).unwrap().matches("nephkeep_span=\"\"").count(), 2);
    }

    #[test]
    fn what_cannot_be_limited_is_refused() {
        for query in [
            "",
            "up{",
            "sum(",
            "nosuch(up)",
            "info(up)",
            "up{a=\"b\" or c=\"d\"}",
            "sum by (\"a-b\") (up)",
            "up{x=~\"(\"}",
        ] {
            assert_eq!(scoped(query).unwrap_err().code(), "promql-malformed", "{query}");
        }
        let long = format!("up{{x=\"{}\"}}", "y".repeat(QUERY_BYTES));
        assert_eq!(scoped(&long).unwrap_err().code(), "promql-malformed");
    }

    #[test]
    fn a_selector_is_one_series_selector() {
        assert_eq!(selector("up", &tenant()).unwrap(), "up{tenant=\"a\"}");
        assert_eq!(everything(&tenant()), "{tenant=\"a\"}");
        for bad in ["rate(up[5m])", "up[5m]", "up + 1", "up offset 5m"] {
            assert_eq!(selector(bad, &tenant()).unwrap_err().code(), "promql-malformed", "{bad}");
        }
    }

    #[test]
    fn a_rule_concerns_a_tenant_when_all_its_selectors_name_it() {
        assert!(concerns("up{tenant=\"a\"} == 0", &tenant()));
        for rule in ["up == 0", "up{tenant=\"a\"} + up", "up{tenant=~\"a\"}", "up{tenant=\"b\"}", "("] {
            assert!(!concerns(rule, &tenant()), "{rule}");
        }
    }

    /// On the stack of a worker thread, in a build without optimisation.
    #[test]
    fn no_depth_of_nesting_overflows_the_stack() {
        let worker = std::thread::Builder::new().stack_size(2 << 20);
        let tried = worker.spawn(|| {
            let shapes = [
                ("(", "up", ")"),
                ("-", "up", ""),
                ("- ", "up", ""),
                ("up + ", "up", ""),
                ("up ^ ", "up", ""),
                ("up == bool ", "up", ""),
                ("up or ", "up", ""),
                ("up AND ON (x) ", "up", ""),
                ("abs(", "up", ")"),
                ("sum by (a) (", "up", ")"),
                ("", "up", " offset 5m"),
                ("", "up", " @ 5"),
                ("", "up", "[5m:1m]"),
                ("max_over_time(", "up", "[5m:1m])"),
                ("label_replace(", "up", ", \"a\", \"b\", \"c\", \"d\")"),
                ("{a=\"", "up", "\"}"),
                ("(up + ", "up", ")"),
            ];
            for (before, middle, after) in shapes {
                for times in [10, 60, 190, 1_000, 3_000] {
                    let text = format!("{}{middle}{}", before.repeat(times), after.repeat(times));
                    let accepted = scoped(&text).is_ok();
                    assert!(!accepted || times < 1_000, "{times} times {before:?}…{after:?}");
                }
            }
            let wide = format!("sum(up) + max({})", ["up"; 90].join(" or "));
            scoped(&wide).unwrap();
        });
        tried.unwrap().join().unwrap();
    }

    proptest! {
        #[test]
        fn no_text_panics_and_every_accepted_one_is_limited(query in ".{0,60}") {
            if let Ok(text) = scoped(&query) {
                let mut tree = parser::parse(&text).unwrap();
                let mut pinned = Pinned { tenant: &tenant(), all: true };
                walk_expr_mut(&mut pinned, &mut tree).unwrap();
                prop_assert!(pinned.all, "{text}");
            }
        }

        #[test]
        fn label_values_cannot_break_out_of_their_quotes(value in any::<String>()) {
            let query = format!("up{{job=\"{}\"}}", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
            if let Ok(text) = scoped(&query) {
                let mut tree = parser::parse(&text).unwrap();
                let selector = selected(&mut tree).unwrap();
                prop_assert_eq!(selector.matchers.matchers.len(), 2, "{}", text);
            }
        }
    }
}
