//! The toy does what it says, and objects to what breaks the contract.

use std::panic::{AssertUnwindSafe, catch_unwind};

use deepseek_model::Span;

use super::*;

fn draft(decoder: &mut ToyDecoder, after: TokenId, max: u32) -> Result<Vec<TokenId>> {
    let seq = SeqId(0);
    let mut drafts = decoder.draft(&[DraftAsk { seq, after, max }])?;
    Ok(drafts.remove(0))
}

fn run(decoder: &mut ToyDecoder, at: u32, tokens: &[TokenId], want: Want) -> Vec<f32> {
    let span = Span {
        seq: SeqId(0),
        at,
        tokens: tokens.to_vec(),
        media: Vec::new(),
        want,
    };
    decoder
        .step(&Step { spans: vec![span] })
        .unwrap()
        .into_values()
}

/// Whether the decoder, standing at 3 after a step of 2, objects.
fn objects(act: impl FnOnce(&mut ToyDecoder)) -> bool {
    let mut decoder = ToyDecoder::new(Toy {
        capacity: Capacity {
            context: 8,
            rewind: 2,
            ..Toy::default().capacity
        },
        ..Toy::default()
    });
    run(&mut decoder, 0, &[1], Want::Nothing);
    run(&mut decoder, 1, &[2, 3], Want::Nothing);
    catch_unwind(AssertUnwindSafe(|| act(&mut decoder))).is_err()
}

#[test]
fn cuts_and_rewinds_leave_no_trace() {
    let mut whole = ToyDecoder::new(Toy::default());
    let all = run(&mut whole, 0, &[1, 2, 3], Want::All);
    let mut cut = ToyDecoder::new(Toy::default());
    let mut rows = run(&mut cut, 0, &[1], Want::Last);
    run(&mut cut, 1, &[9, 9], Want::All);
    cut.rewind(SeqId(0), 1);
    rows.extend(run(&mut cut, 1, &[2], Want::Last));
    draft(&mut cut, 3, 4).unwrap();
    rows.extend(run(&mut cut, 2, &[3], Want::Last));
    assert_eq!(all, rows);
}

#[test]
fn a_script_is_said_after_any_prompt_and_through_its_own_repeats() {
    let script = [4, 4, 5, 4, 4, 4, 5, 6];
    let mut decoder = ToyDecoder::new(Toy {
        script: script.to_vec(),
        ..Toy::default()
    });
    run(&mut decoder, 0, &[1, 2], Want::Nothing);
    let mut id = 3;
    for (at, want) in (2..).zip(script) {
        run(&mut decoder, at, &[id], Want::Nothing);
        id = decoder.most_likely(*decoder.sequences[&SeqId(0)].marks.last().unwrap());
        assert_eq!(id, want, "at {at}");
    }
}

#[test]
fn drafts_are_as_right_as_told() {
    for (percent, least, most) in [(0, 0, 0), (50, 400, 600), (100, 1000, 1000)] {
        let toy = Toy {
            drafts_right_percent: percent,
            ..Toy::default()
        };
        let mut decoder = ToyDecoder::new(toy);
        let right = (0..1000).filter(|&at| {
            run(&mut decoder, at, &[at % 64], Want::Nothing);
            let drafted = draft(&mut decoder, 1, 1).unwrap();
            let mark = *decoder.sequences[&SeqId(0)].marks.last().unwrap();
            drafted == [decoder.most_likely(decoder.after(mark, 1))]
        });
        let right = right.count();
        assert!(
            least <= right && right <= most,
            "{right} of 1000 at {percent} %"
        );
    }
}

#[test]
fn breaches_of_the_contract_are_met_with_a_panic() {
    let step = |at, count: usize| {
        move |decoder: &mut ToyDecoder| {
            run(decoder, at, &vec![1; count], Want::Nothing);
        }
    };
    assert!(!objects(step(3, 5)), "up to the context");
    assert!(objects(step(3, 6)), "one past the context");
    assert!(objects(step(2, 1)), "behind where it stands");
    assert!(objects(step(4, 1)), "ahead of where it stands");
    assert!(objects(step(3, 0)), "no tokens");
    assert!(
        objects(|d| drop(run(d, 3, &[64], Want::Nothing))),
        "an unknown id"
    );
    assert!(
        !objects(|d| d.rewind(SeqId(0), 1)),
        "as far back as it goes"
    );
    assert!(objects(|d| d.rewind(SeqId(0), 0)), "one further");
    assert!(objects(|d| d.rewind(SeqId(0), 4)), "ahead");
    assert!(
        objects(|d| d.rewind(SeqId(1), 0)),
        "a sequence that never began"
    );
    assert!(
        !objects(|d| drop(draft(d, 1, 4))),
        "as many drafts as it has"
    );
    assert!(objects(|d| drop(draft(d, 1, 5))), "one more");
    assert!(
        objects(|d| drop(draft(d, 64, 1))),
        "a draft after an unknown id"
    );
    let twice = Span {
        seq: SeqId(1),
        at: 0,
        tokens: vec![1],
        media: Vec::new(),
        want: Want::Last,
    };
    let twice = Step {
        spans: vec![twice.clone(), twice],
    };
    assert!(objects(move |d| drop(d.step(&twice))), "one sequence twice");
    let beyond = Span {
        seq: SeqId(4),
        at: 0,
        tokens: vec![1],
        media: Vec::new(),
        want: Want::Last,
    };
    assert!(
        objects(move |d| drop(d.step(&Step {
            spans: vec![beyond]
        }))),
        "no such place"
    );
    assert!(objects(|d| drop(d.step(&Step::default()))), "no spans");
}

#[test]
fn a_sequence_of_a_failed_step_can_only_be_forgotten() {
    let faults = BTreeMap::from([(1, ToyFault::Error)]);
    let mut decoder = ToyDecoder::new(Toy {
        faults,
        ..Toy::default()
    });
    run(&mut decoder, 0, &[1], Want::Nothing);
    let span = Span {
        seq: SeqId(0),
        at: 1,
        tokens: vec![2],
        media: Vec::new(),
        want: Want::Last,
    };
    let step = Step { spans: vec![span] };
    assert!(decoder.step(&step).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| decoder.rewind(SeqId(0), 1))).is_err());
    decoder.forget(SeqId(0));
    run(&mut decoder, 0, &[1], Want::Nothing);
}
