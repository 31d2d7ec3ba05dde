//! How an answer ended, and what there is to say about one that is not whole.

use deepseek_chat::Completion;
use deepseek_engine::Reason;
use deepseek_text::Flaw;

/// How figures and reports name an end.
pub(crate) fn name(reason: Reason) -> &'static str {
    match reason {
        Reason::Stop => "stop",
        Reason::StopString => "stop-string",
        Reason::Length => "length",
        Reason::Context => "context",
        Reason::Cancelled => "cancelled",
        _ => "unknown",
    }
}

/// A line about an answer that looks whole and is not. One that the user stopped needs none.
pub(crate) fn note(said: &Completion) -> Option<String> {
    let has = |flaw| said.flaws.contains(&flaw);
    let within = match () {
        () if has(Flaw::HalfCall) => " within a call, which is shown as it was written",
        () if has(Flaw::OpenReasoning) => " within its reasoning",
        () => "",
    };
    let mut notes = Vec::new();
    match said.reason {
        Reason::Length => {
            let tokens = said.usage.generated;
            notes.push(format!(
                "the answer was cut by --max-tokens after {tokens} tokens{within}"
            ));
        }
        Reason::Context => notes.push(format!(
            "the answer was cut by the end of the context{within}"
        )),
        Reason::StopString => notes.push(format!("the answer was ended by a stop string{within}")),
        Reason::Cancelled => return None,
        _ if has(Flaw::HalfCall) => {
            notes.push(
                "the model did not end its call, which is shown as it was written".to_owned(),
            );
        }
        _ if has(Flaw::OpenReasoning) => {
            notes.push("the model did not end its reasoning: there is no answer".to_owned());
        }
        _ => {}
    }
    if has(Flaw::BadCall) {
        notes.push("a call that cannot be read is shown as it was written".to_owned());
    }
    if has(Flaw::Trailing) {
        notes.push("what the model wrote after its calls is left out".to_owned());
    }
    (!notes.is_empty()).then(|| notes.join("; "))
}

#[cfg(test)]
mod tests {
    use deepseek_engine::{RequestId, Usage};
    use deepseek_text::Answer;

    use super::*;

    #[track_caller]
    fn check(reason: Reason, flaws: &[Flaw], want: Option<&str>) {
        let said = Completion {
            answer: Answer::default(),
            tokens: Vec::new(),
            flaws: flaws.to_vec(),
            reason,
            usage: Usage {
                generated: 7,
                ..Usage::default()
            },
            request: RequestId::default(),
        };
        assert_eq!(note(&said).as_deref(), want);
    }

    #[test]
    fn an_answer_that_is_not_whole_has_one_note() {
        use Flaw::{BadCall, HalfCall, OpenReasoning, Trailing};
        check(Reason::Stop, &[], None);
        check(Reason::Cancelled, &[OpenReasoning], None);
        let cut = "the answer was cut by --max-tokens after 7 tokens";
        check(Reason::Length, &[], Some(cut));
        let within = format!("{cut} within its reasoning");
        check(Reason::Length, &[OpenReasoning], Some(&within));
        let within = format!("{cut} within a call, which is shown as it was written");
        check(Reason::Length, &[HalfCall], Some(&within));
        check(
            Reason::Context,
            &[],
            Some("the answer was cut by the end of the context"),
        );
        check(
            Reason::StopString,
            &[],
            Some("the answer was ended by a stop string"),
        );
        let open = "the model did not end its reasoning: there is no answer";
        check(Reason::Stop, &[OpenReasoning], Some(open));
        let two = "a call that cannot be read is shown as it was written; \
            what the model wrote after its calls is left out";
        check(Reason::Stop, &[BadCall, BadCall, Trailing], Some(two));
    }
}
