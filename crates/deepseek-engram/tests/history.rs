//! A history sees neither how a text is cut nor what was taken back.

use deepseek_engram::{Addresses, History, Slots, TablesConfig};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn addresses(max_ngram: usize) -> Addresses {
    Addresses::new(&TablesConfig {
        layers: vec![1, 4],
        max_ngram,
        heads: 2,
        head_dim: 32,
        vocab_size: 97,
        pad: 2,
        compressed_vocab: 254,
    })
}

fn whole(addresses: &Addresses, ids: &[Option<u32>]) -> Slots {
    History::new(addresses).append(addresses, ids.iter().copied())
}

fn draw(rng: &mut ChaCha8Rng) -> Option<u32> {
    (!rng.random_bool(0.1)).then(|| rng.random_range(0..254))
}

/// Appends and rewinds at random. What the history says of each stretch is what a new one says of
/// the text that is then there.
#[test]
fn cuts_and_rewinds_leave_no_trace() {
    for seed in 0..40 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let addresses = addresses(rng.random_range(2..6));
        let mut history = History::new(&addresses);
        let mut text: Vec<Option<u32>> = Vec::new();
        let mut reached = 0;
        for _ in 0..60 {
            if rng.random_bool(0.4) {
                let least = usize::saturating_sub(reached, History::REWIND_MAX as usize);
                text.truncate(rng.random_range(least.min(text.len())..=text.len()));
                history.rewind(text.len() as u64);
            } else {
                let from = text.len();
                let count = rng.random_range(0..24);
                text.extend((0..count).map(|_| draw(&mut rng)));
                reached = reached.max(text.len());
                let got = history.append(&addresses, text[from..].iter().copied());
                let want = whole(&addresses, &text);
                for layer in [1, 4] {
                    let want = &want.layer(layer)[from * addresses.columns()..];
                    assert_eq!(
                        got.layer(layer),
                        want,
                        "seed {seed}, layer {layer} from {from}"
                    );
                }
            }
            assert_eq!(history.len(), text.len() as u64, "seed {seed}");
        }
    }
}

#[test]
fn an_image_ends_every_n_gram_that_would_reach_over_it() {
    let addresses = addresses(4);
    let pads = whole(&addresses, &[None]);
    let alone = whole(&addresses, &[Some(9), Some(7)]);
    let behind = whole(&addresses, &[Some(3), None, Some(9), Some(7)]);
    let columns = addresses.columns();
    assert_eq!(behind.layer(1)[columns..2 * columns], *pads.layer(1));
    assert_eq!(behind.layer(1)[2 * columns..], *alone.layer(1));
    assert_ne!(behind.layer(1)[..columns], *pads.layer(1));
}

#[test]
fn a_begin_of_sentence_is_a_token_like_others() {
    let addresses = addresses(4);
    let columns = addresses.columns();
    let with = whole(&addresses, &[Some(0), Some(9)]);
    let without = whole(&addresses, &[Some(9)]);
    assert_ne!(with.layer(1)[columns..], *without.layer(1));
}

#[test]
fn slots_of_a_step_follow_one_another() {
    let addresses = addresses(3);
    let [first, other] = [&[Some(1), Some(5)][..], &[Some(8)]];
    let joined = [first, other].map(|ids| whole(&addresses, ids).layer(4).to_vec());
    let mut step = addresses.slots();
    for round in 0..2 {
        step.clear();
        for ids in [first, other] {
            let mut history = History::new(&addresses);
            history.append_to(&addresses, ids.iter().copied(), &mut step);
        }
        assert_eq!(step.layer(4), joined.concat(), "{round}");
    }
}

#[test]
fn as_many_positions_as_promised_may_be_taken_back_and_no_more() {
    let addresses = addresses(4);
    let mut history = History::new(&addresses);
    history.append(&addresses, (0..40).map(Some));
    let mut beyond = history.clone();
    history.rewind(24);
    assert_eq!(history.len(), 24);
    let refused = std::panic::catch_unwind(move || beyond.rewind(23)).expect_err("one too many");
    let said = refused.downcast::<String>().expect("a text");
    assert_eq!(*said, "back to 23 of 40");
}
