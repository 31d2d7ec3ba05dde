//! Sources that hold and sources that do not, and texts on their way through a grammar.

use std::time::Duration;

use deepseek_grammar::{Error, Form, Grammar, Limits, Vocabulary};
use deepseek_text::Tokenizer;

const SIZE: u32 = 300;

fn tokenizer() -> Tokenizer {
    let json = Tokenizer::tiny_json(288).unwrap();
    Tokenizer::parse(json.as_bytes()).unwrap()
}

/// The vocabulary of a model with more ids than its tokenizer.
fn vocabulary() -> Vocabulary {
    let tokenizer = tokenizer();
    Vocabulary::new(&tokenizer, SIZE, &[tokenizer.eos()]).unwrap()
}

fn compile(form: Form<'_>) -> Result<Grammar, Error> {
    Grammar::compile(&vocabulary(), form, Limits::default())
}

/// The ids that may follow.
fn allowed(text: &mut deepseek_grammar::Text) -> Vec<u32> {
    let mut bits = vec![u32::MAX; SIZE.div_ceil(32) as usize];
    text.narrow(&mut bits);
    let is_set = |id: &u32| bits[*id as usize / 32] >> (id % 32) & 1 == 1;
    (0..SIZE).filter(is_set).collect()
}

/// Whether a text is a whole one of the grammar: every id of it was allowed, and its end is.
fn takes(grammar: &Grammar, text: &str) -> bool {
    let tokenizer = tokenizer();
    let mut ids = tokenizer.encode(text).unwrap();
    ids.push(tokenizer.eos());
    let mut at = grammar.begin();
    ids.into_iter().all(|id| {
        let may = allowed(&mut at).contains(&id);
        assert_eq!(at.accept(id), may, "{id} in {text:?}");
        may
    })
}

#[test]
fn an_expression_takes_what_it_matches_whole() {
    let grammar = compile(Form::Regex("(ab|c)+[0-9]{2,3}")).unwrap();
    for text in ["ab12", "cab123", "abab00"] {
        assert!(takes(&grammar, text), "{text}");
    }
    for text in ["", "ab1", "ab1234", "b12", "ab12x", " ab12"] {
        assert!(!takes(&grammar, text), "{text}");
    }
}

#[test]
fn a_grammar_takes_what_its_root_derives() {
    let source = "root ::= \"(\" root \")\" | \"x\"";
    let grammar = compile(Form::Ebnf(source)).unwrap();
    for (text, want) in [("x", true), ("((x))", true), ("((x)", false), ("()", false)] {
        assert_eq!(takes(&grammar, text), want, "{text}");
    }
}

#[test]
fn a_schema_takes_what_validates() {
    let schema = r#"{
        "type": "object",
        "properties": { "n": { "type": "integer", "minimum": 3, "maximum": 12 }, "s": { "enum": ["a", "ä"] } },
        "required": ["n", "s"],
        "additionalProperties": false
    }"#;
    let grammar = compile(Form::JsonSchema(schema)).unwrap();
    for (text, want) in [
        (r#"{"n": 3, "s": "a"}"#, true),
        (r#"{"n": 12, "s": "ä"}"#, true),
        (r#"{"n": 13, "s": "a"}"#, false),
        (r#"{"n": 2, "s": "a"}"#, false),
        (r#"{"n": 3}"#, false),
        (r#"{"n": 3, "s": "b"}"#, false),
        (r#"{"n": 3, "s": "a", "t": 1}"#, false),
    ] {
        assert_eq!(takes(&grammar, text), want, "{text}");
    }
}

#[test]
fn a_text_that_has_ended_has_nothing_behind_it() {
    let grammar = compile(Form::Regex("a")).unwrap();
    let tokenizer = tokenizer();
    let mut text = grammar.begin();
    assert!(text.accept(tokenizer.encode("a").unwrap()[0]));
    assert_eq!(allowed(&mut text), grammar.ends());
    assert!(text.accept(tokenizer.eos()));
    assert!(allowed(&mut text).is_empty());
}

#[test]
fn control_tokens_and_ids_without_text_never_follow() {
    let grammar = compile(Form::Regex("(.|\n)*")).unwrap();
    let tokenizer = tokenizer();
    let allowed = allowed(&mut grammar.begin());
    assert!(allowed.len() > 100, "{allowed:?}");
    for id in allowed {
        assert!(id < 288, "{id}");
        assert!(!tokenizer.is_added(id) || id == tokenizer.eos(), "{id}");
    }
}

#[test]
fn what_does_not_hold_is_an_error() {
    for form in [
        Form::Regex("("),
        Form::Ebnf("root ::= nobody"),
        Form::Ebnf(""),
        Form::JsonSchema("{"),
        Form::JsonSchema(r#"{ "type": "frog" }"#),
        Form::JsonSchema(r#"{ "type": "integer", "minimum": 5, "maximum": 4 }"#),
        Form::JsonSchema(r##"{ "$ref": "#/$defs/none" }"##),
        Form::JsonSchema(r#"{ "not": {} }"#),
    ] {
        assert!(compile(form).is_err(), "{form:?}");
    }
}

#[test]
fn depth_costs_an_error_and_no_stack() {
    let deep = 100_000;
    let parens = "(".repeat(deep) + "a" + &")".repeat(deep);
    let regex = Form::Regex(&parens);
    let rule = format!("root ::= {parens}").replace('a', "\"a\"");
    let rule = Form::Ebnf(&rule);
    let schema = r#"{"items":"#.repeat(10_000) + "{}" + &"}".repeat(10_000);
    let schema = Form::JsonSchema(&schema);
    for form in [regex, rule, schema] {
        assert!(compile(form).is_err());
    }
}

#[test]
fn each_bound_is_kept_at_it_and_one_past_it() {
    let source = "a{3}";
    let with = |limits: Limits| Grammar::compile(&vocabulary(), Form::Regex(source), limits);
    let of = |source_bytes_max| Limits {
        source_bytes_max,
        ..Limits::default()
    };
    assert!(with(of(source.len())).is_ok());
    let error = with(of(source.len() - 1)).unwrap_err();
    assert_eq!(error.to_string(), "4 bytes, at most 3 are compiled");
    let slow = Form::Regex("([a-f]{0,80}[0-9]{0,80}x){0,40}");
    let no_time = Limits {
        compile_time_max: Duration::ZERO,
        ..Limits::default()
    };
    let error = Grammar::compile(&vocabulary(), slow, no_time);
    assert!(
        matches!(error, Err(Error::Slow { seconds: 0 })),
        "{error:?}"
    );
    let error = with(Limits {
        compiled_bytes_max: 1,
        ..Limits::default()
    });
    assert!(
        matches!(error, Err(Error::TooLarge { max: 1, .. })),
        "{error:?}"
    );
}
