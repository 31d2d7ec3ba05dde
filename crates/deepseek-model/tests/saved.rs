//! Saved sequences as bytes: what is read back, and what is refused.

use std::io::{self, Read, Write};

use deepseek_core::Level;
use deepseek_model::limits::{BINDING_BYTES_MAX, BINDING_FIELDS_MAX, POOLS_MAX};
use deepseek_model::saved::{Binding, Reader, SavedError, Writer};
use deepseek_model::{Ablation, Budget, Config, Plan, Prefill, SequenceState};

fn write(state: &SequenceState, binding: &Binding) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::begin(&mut bytes, binding).unwrap();
    state.write(&mut writer).unwrap();
    writer.end().unwrap();
    bytes
}

fn read_from(
    input: &mut dyn Read,
    bytes: usize,
    binding: &Binding,
) -> Result<SequenceState, SavedError> {
    let mut reader = Reader::begin(input, bytes as u64, binding)?;
    let state = SequenceState::read(&mut reader)?;
    reader.end()?;
    Ok(state)
}

fn read(mut bytes: &[u8], binding: &Binding) -> Result<SequenceState, SavedError> {
    let count = bytes.len();
    read_from(&mut bytes, count, binding)
}

fn binding() -> Binding {
    Binding::default().with("weights", "these")
}

fn state() -> SequenceState {
    SequenceState::new(7, vec![vec![1, 2, 3], Vec::new(), vec![4; 100]])
}

#[test]
fn what_is_written_is_read_again() {
    for state in [state(), SequenceState::new(1, Vec::new())] {
        let bytes = write(&state, &binding());
        assert_eq!(read(&bytes, &binding()).unwrap(), state);
    }
}

#[test]
fn every_cut_and_every_changed_bit_is_seen() {
    let good = write(&state(), &binding());
    for end in 0..good.len() {
        read(&good[..end], &binding()).expect_err(&format!("cut at {end}"));
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[end] ^= 1 << bit;
            read(&bytes, &binding()).expect_err(&format!("bit {bit} of {end}"));
        }
    }
}

#[test]
fn what_differs_is_named_with_both_sides() {
    let bytes = write(&state(), &binding().with("numerics", "exact"));
    let check = |now: Binding, want: &str| {
        let error = read(&bytes, &now).unwrap_err();
        assert_eq!(error.to_string(), want);
    };
    let own = binding().with("numerics", "exact");
    assert!(read(&bytes, &own).is_ok());
    check(
        binding().with("numerics", "cache"),
        "numerics exact then, cache now",
    );
    check(binding(), "numerics exact then, none now");
    check(
        own.clone().with("projector", "this"),
        "projector this now, none then",
    );
    check(
        Binding::default().with("weights", "others"),
        "weights these then, others now",
    );
    // Of a long value it is a hash that counts, so that it can be read again.
    let long = "x".repeat(BINDING_BYTES_MAX + 1);
    let bytes = write(&state(), &own.clone().with("long", &long));
    assert!(read(&bytes, &own.clone().with("long", &long)).is_ok());
    read(&bytes, &own.with("long", format!("{long}y"))).unwrap_err();
}

#[test]
fn what_is_no_saved_cache_or_of_another_format_says_so() {
    for bytes in [&b""[..], b"DSKV", b"{\"messages\": []}"] {
        let error = read(bytes, &binding()).unwrap_err();
        assert_eq!(error.to_string(), "it is no saved KV cache");
    }
    let mut bytes = write(&state(), &binding());
    bytes[8] = 2;
    let error = read(&bytes, &binding()).unwrap_err();
    assert_eq!(error.to_string(), "format 2, this program reads 1");
}

/// Begins as a file does, and says that there is more than there is.
fn crafted(contents: impl FnOnce(&mut Writer<'_>) -> io::Result<()>) -> SavedError {
    let mut bytes = Vec::new();
    let mut writer = Writer::begin(&mut bytes, &binding()).unwrap();
    contents(&mut writer).unwrap();
    writer.end().unwrap();
    read(&bytes, &binding()).unwrap_err()
}

/// A whole sequence at position 1, without anything beside its rows.
fn head(writer: &mut Writer<'_>) -> io::Result<()> {
    writer.flag(false)?;
    for number in [1, 1, 1] {
        writer.number(number)?;
    }
    writer.flag(false)?;
    writer.flag(false)
}

#[test]
fn no_more_memory_is_taken_than_there_are_bytes() {
    let error = crafted(|writer| {
        head(writer)?;
        writer.count(1)?;
        writer.bytes(&u64::MAX.to_le_bytes())
    });
    assert!(matches!(error, SavedError::Short { .. }), "{error}");
    let error = crafted(|writer| {
        head(writer)?;
        writer.count(POOLS_MAX + 1)
    });
    assert_eq!(
        error.to_string(),
        format!("its rows: {}, at most {POOLS_MAX}", POOLS_MAX + 1)
    );
    // A file that is shorter than the system said.
    let good = write(&state(), &binding());
    let cut = &mut &good[..good.len() - 50];
    let error = read_from(cut, good.len(), &binding()).unwrap_err();
    assert!(matches!(error, SavedError::Short { .. }), "{error}");
}

#[test]
fn as_many_names_are_read_as_may_be_and_no_more() {
    let many = |count: usize| {
        let all = (0..count).fold(Binding::default(), |all, _| all.with("x", "y"));
        read(&write(&state(), &all), &all)
    };
    assert!(many(BINDING_FIELDS_MAX).is_ok());
    let error = many(BINDING_FIELDS_MAX + 1).unwrap_err();
    assert!(matches!(error, SavedError::Bound { .. }), "{error}");
}

#[test]
fn positions_are_in_order() {
    for numbers in [[2, 1, 1], [1, 1, 2], [1, (1 << 24) + 1, 1]] {
        let error = crafted(|writer| {
            writer.flag(false)?;
            numbers.into_iter().try_for_each(|own| writer.number(own))
        });
        assert_eq!(
            error.to_string(),
            "its position does not fit the rest of it",
            "{numbers:?}"
        );
    }
}

/// A stream that breaks.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("no"))
    }
}

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("no"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_the_system_refuses_is_handed_on() {
    let error = read_from(&mut Broken, 1000, &binding()).unwrap_err();
    assert!(matches!(error, SavedError::Io(_)), "{error}");
    Writer::begin(&mut Broken, &binding()).expect_err("no");
}

#[test]
fn a_plan_is_bound_to_all_that_changes_its_numbers() {
    let config = Config::parse(deepseek_assets::CONFIG).unwrap();
    let budget = Budget {
        context: 512,
        ..Budget::default()
    };
    let of =
        |config: &Config, level: Level, budget: Budget| Plan::new(config, level, budget).unwrap();
    let own = of(&config, Level::Exact, budget);
    let bytes = write(&state(), &Binding::of(&own));
    let check = |other: &Plan, want: &str| {
        let error = read(&bytes, &Binding::of(other)).expect_err(want);
        assert!(error.to_string().starts_with(want), "{error}");
    };
    // What is laid out for more or less is the same model.
    let wider = Budget {
        context: 1024,
        sequences: 3,
        ..budget
    };
    assert!(read(&bytes, &Binding::of(&of(&config, Level::Exact, wider))).is_ok());
    check(
        &of(&config, Level::Cache, budget),
        "numerics exact then, cache now",
    );
    let prefill = match budget.prefill {
        Prefill::Full => Prefill::Replay,
        Prefill::Replay => Prefill::Full,
    };
    check(
        &of(&config, Level::Exact, Budget { prefill, ..budget }),
        "prefill ",
    );
    check(
        &of(&config.clone().without_drafts(), Level::Exact, budget),
        "draft head dspark then, none now",
    );
    check(&own.clone().without(Ablation::Engram), "layers ");
}
