//! Flags whose work shows in nothing but the words of an answer, in a figure, or in what the process
//! takes: each is held against what follows from the logits that the program itself writes, or against
//! a count made here.

use std::collections::BTreeSet;

use deepseek_text::{Conversation, Edition, Effort, Options, Tokenizer, encode};
use serde_json::{Value, json};

use crate::logits::table;
use crate::program::{Checkpoint, run};
use crate::run::figure;

/// A checkpoint whose most likely ids are printable, so that every draw can be told by its text.
fn printable() -> Checkpoint {
    let checkpoint = Checkpoint::new();
    let letters: String = (' '..='~').collect();
    let kept: Vec<usize> = ids(&checkpoint, &letters)
        .into_iter()
        .map(|id| id as usize)
        .collect();
    checkpoint.with_output_rows("model.safetensors", |row| kept.contains(&row))
}

/// A text as ids, markers as they are spelled.
pub(crate) fn ids(checkpoint: &Checkpoint, text: &str) -> Vec<u32> {
    let line = ["tokenize", "--model", checkpoint.path(), "--special", text];
    let list = run(&line).done();
    list.trim_end()
        .split(',')
        .map(|id| id.parse().expect("an id"))
        .collect()
}

/// Ids as a text, as it ends a line.
fn words(checkpoint: &Checkpoint, ids: &[u32]) -> String {
    let list = listed(ids);
    run(&["tokenize", "--model", checkpoint.path(), "--decode", &list]).done()
}

fn listed(ids: &[u32]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.join(",")
}

/// The logits after the last of some ids, rounded as answers are.
pub(crate) fn last_logits(checkpoint: &Checkpoint, ids: &[u32], more: &[&str]) -> Vec<f32> {
    let list = listed(ids);
    let told = ["--ids", &list, "--numerics", "released"];
    checkpoint.logits(&[&told[..], more].concat()).done();
    let (shape, values) = table(checkpoint.file("out.safetensors").as_ref());
    values[values.len() - shape[1]..].to_vec()
}

/// The ids from the most likely down.
fn ranked(logits: &[f32]) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    ids.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]));
    ids
}

/// What a raw `prompt` goes on with when the most likely id is always taken, once `penalise` has changed
/// the logits by the ids so far, of which those from `answer` on are drawn.
fn most_likely(
    checkpoint: &Checkpoint,
    prompt: &str,
    count: usize,
    penalise: impl Fn(&[u32], usize, &mut [f32]),
) -> String {
    let mut all = [vec![0], ids(checkpoint, prompt)].concat();
    let answer = all.len();
    for _ in 0..count {
        let mut logits = last_logits(checkpoint, &all, &[]);
        penalise(&all, answer, &mut logits);
        all.push(ranked(&logits)[0]);
    }
    words(checkpoint, &all[answer..])
}

/// What the program goes on with.
fn go_on(checkpoint: &Checkpoint, prompt: &str, count: usize, more: &[&str]) -> String {
    let count = count.to_string();
    let flags = ["--raw", "--max-tokens", &count];
    checkpoint
        .run("run", &[&flags[..], more, &[prompt]].concat())
        .done()
}

#[test]
fn what_leaves_one_token_takes_the_most_likely() {
    let checkpoint = printable();
    let greedy = most_likely(&checkpoint, "once", 12, |_, _, _| {});
    assert_eq!(
        go_on(&checkpoint, "once", 12, &["--temperature", "0"]),
        greedy
    );
    let hot = ["--temperature", "3", "--seed", "5"];
    assert_ne!(go_on(&checkpoint, "once", 12, &hot), greedy);
    for one in [["--top-k", "1"], ["--top-p", "1e-9"], ["--min-p", "1"]] {
        let drawn = go_on(&checkpoint, "once", 12, &[&hot[..], &one].concat());
        assert_eq!(drawn, greedy, "{one:?}");
    }
    let cold = ["--temperature", "0.001", "--seed", "5"];
    assert_eq!(go_on(&checkpoint, "once", 12, &cold), greedy);
}

/// Of the first token, so that what can be drawn is known from one row of logits.
#[test]
fn what_leaves_some_tokens_leaves_those() {
    const TEMPERATURE: f32 = 4.0;
    const SEEDS: u64 = 24;

    let checkpoint = printable();
    let prompt = [vec![0], ids(&checkpoint, "once")].concat();
    let logits = last_logits(&checkpoint, &prompt, &[]);
    let order = ranked(&logits);
    let weight = |rank: usize| {
        let [own, first] = [order[rank], order[0]].map(|id| f64::from(logits[id as usize]));
        ((own - first) / f64::from(TEMPERATURE)).exp()
    };
    let whole: f64 = (0..order.len()).map(weight).sum();
    // Between what so many have together and what one fewer has, and between the last and the next.
    let top_p = |kept: usize| {
        let below: f64 = (0..kept - 1).map(weight).sum();
        (below + weight(kept - 1) / 2.0) / whole
    };
    let min_p = |kept: usize| f64::midpoint(weight(kept - 1), weight(kept));
    for (flag, value, kept) in [
        ("--top-k", "2".to_owned(), 2),
        ("--top-k", "3".to_owned(), 3),
        ("--top-p", top_p(2).to_string(), 2),
        ("--top-p", top_p(3).to_string(), 3),
        ("--min-p", min_p(2).to_string(), 2),
        ("--min-p", min_p(3).to_string(), 3),
    ] {
        let drawn: BTreeSet<String> = (0..SEEDS)
            .map(|seed| {
                let (temperature, seed) = (TEMPERATURE.to_string(), seed.to_string());
                let hot = ["--temperature", &temperature, "--seed", &seed];
                go_on(
                    &checkpoint,
                    "once",
                    1,
                    &[&hot[..], &[flag, &value]].concat(),
                )
            })
            .collect();
        let want = order[..kept].iter().map(|id| words(&checkpoint, &[*id]));
        assert_eq!(drawn, want.collect(), "{flag} {value}");
    }
}

#[test]
fn each_penalty_is_what_it_says() {
    /// What follows says some letters several times, so that it matters how often they occur.
    const PROMPT: &str = "upon";
    const COUNT: usize = 17;

    let checkpoint = printable();
    let occurs = |ids: &[u32], id: usize| ids.iter().filter(|own| **own as usize == id).count();
    let repetition = |r: f32| {
        most_likely(&checkpoint, PROMPT, COUNT, |all, _, logits| {
            for (id, x) in logits.iter_mut().enumerate() {
                if occurs(all, id) > 0 {
                    *x = if *x > 0.0 { *x / r } else { *x * r };
                }
            }
        })
    };
    let frequency = |f: f32| {
        most_likely(&checkpoint, PROMPT, COUNT, |all, answer, logits| {
            for (id, x) in logits.iter_mut().enumerate() {
                *x -= f * occurs(&all[answer..], id) as f32;
            }
        })
    };
    let presence = |p: f32| {
        most_likely(&checkpoint, PROMPT, COUNT, |all, answer, logits| {
            for (id, x) in logits.iter_mut().enumerate() {
                if occurs(&all[answer..], id) > 0 {
                    *x -= p;
                }
            }
        })
    };
    let cases = [
        ("--repetition-penalty", "10", repetition(10.0)),
        ("--repetition-penalty", "0.5", repetition(0.5)),
        ("--frequency-penalty", "0.75", frequency(0.75)),
        ("--frequency-penalty", "-0.5", frequency(-0.5)),
        ("--presence-penalty", "0.75", presence(0.75)),
        ("--presence-penalty", "-0.5", presence(-0.5)),
    ];
    let plain = go_on(&checkpoint, PROMPT, COUNT, &["--temperature", "0"]);
    for (flag, value, want) in &cases {
        let said = go_on(
            &checkpoint,
            PROMPT,
            COUNT,
            &["--temperature", "0", flag, value],
        );
        assert_eq!(said, *want, "{flag} {value}");
    }
    let all: BTreeSet<&String> = cases
        .iter()
        .map(|(_, _, text)| text)
        .chain([&plain])
        .collect();
    assert_eq!(all.len(), cases.len() + 1, "each changes the text: {all:?}");
}

/// The answer to a question, and the tokens of its prompt.
#[track_caller]
fn ask(checkpoint: &Checkpoint, more: &[&str]) -> (String, usize) {
    let flags = ["--thinking", "--temperature", "0", "--max-tokens", "16"];
    let line = [&flags[..], more, &["--stats", "What?"]].concat();
    let ran = checkpoint.run("run", &line);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let (said, figures) = ran.err.split_once("prefill ").expect("figures");
    let tokens = figures.split_whitespace().next().expect("a count");
    (said.to_owned() + &ran.out, tokens.parse().expect("a count"))
}

/// The tokens of the prompt that [`ask`] makes for a checkpoint of this edition.
fn prompted(checkpoint: &Checkpoint, edition: Edition, effort: Effort) -> usize {
    let tokenizer = Tokenizer::parse(&checkpoint.read("tokenizer.json")).expect("a tokenizer");
    let options = Options {
        effort,
        edition,
        ..Options::default()
    };
    let encoded = encode(&tokenizer, &Conversation::ask("What?"), &options);
    encoded.expect("the prompt encodes").ids.len()
}

#[test]
fn effort_has_the_words_of_the_first_edition() {
    let checkpoint = Checkpoint::new();
    let effort = |effort: &str| ask(&checkpoint, &["--effort", effort]);
    let usual = ask(&checkpoint, &[]);
    assert_eq!(effort("high"), usual);
    assert_eq!(effort("low"), usual);
    let (said, tokens) = effort("max");
    assert_eq!(tokens, prompted(&checkpoint, Edition::First, Effort::Max));
    assert!(tokens > usual.1 + 400 && said != usual.0);
}

/// A refreshed checkpoint is known by its drafter.
#[test]
fn effort_has_the_words_of_the_refreshed_edition() {
    let checkpoint = Checkpoint::new();
    let first = ask(&checkpoint, &["--effort", "max"]);
    let least = ask(&checkpoint, &["--effort", "low"]);
    checkpoint.set("dspark_block_size", 5);
    let effort = |effort: &str| ask(&checkpoint, &["--effort", effort]);
    assert_eq!(effort("low"), least);
    assert_eq!(effort("high"), first, "what was the most is the usual");
    assert_eq!(ask(&checkpoint, &[]), first);
    let (said, tokens) = effort("max");
    let refreshed = Edition::Refreshed;
    assert_eq!(tokens, prompted(&checkpoint, refreshed, Effort::Max));
    assert!(tokens != first.1 && said != first.0 && said != least.0);
}

#[test]
fn effort_is_a_number_to_later_models() {
    let checkpoint = Checkpoint::v41();
    let effort = |effort: &str| ask(&checkpoint, &["--effort", effort]);
    // A byte is a token, and so is a digit.
    let [seven, some, all] = ["7", "42", "100"].map(effort);
    assert_eq!([some.1, all.1], [seven.1 + 1, seven.1 + 2]);
    assert_eq!(effort("low"), effort("50"));
    assert_eq!(effort("high"), effort("75"));
    assert_eq!(effort("max"), all);
    assert_eq!(ask(&checkpoint, &[]), effort("75"));
    let answers = [&some.0, &effort("50").0, &effort("75").0].map(String::clone);
    assert_eq!(BTreeSet::from(answers).len(), 3, "each number is another");
}

#[test]
fn answers_cut_their_prompt_unless_told_otherwise() {
    let checkpoint = Checkpoint::v41();
    let mut differ = 0;
    for number in 0..8 {
        let long =
            format!("{number} and a text that is longer than the window of the model, by far");
        let prompt = [vec![0], ids(&checkpoint, &long)].concat();
        let say = |more: &[&str]| {
            let line = [&["--temperature", "0"], more].concat();
            go_on(&checkpoint, &long, 8, &line)
        };
        let [replay, full] = ["replay", "full"].map(|prefill| {
            let flags = ["--prefill", prefill];
            let logits = last_logits(&checkpoint, &prompt, &flags);
            let (said, first) = (say(&flags), words(&checkpoint, &ranked(&logits)[..1]));
            assert!(said.starts_with(first.trim_end()), "{said:?}, {first:?}");
            said
        });
        assert_eq!(say(&[]), replay);
        differ += usize::from(full != replay);
    }
    assert!(differ > 0, "a prompt that is cut says the same always");
}

/// Every step behind the first token has as many drafts as were asked for, unless the answer is cut,
/// and yields those that are accepted and one token more.
#[test]
fn drafts_are_as_many_as_asked_for_and_counted_as_accepted() {
    let ask = |more: &[&str]| {
        let flags = ["run", "--thinking", "--stats"];
        let ran = run(&[&flags[..], more, &["What is 12 + 30?"]].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran
    };
    let number = |text: &str, place: usize| -> u32 {
        let word = text.split_whitespace().nth(place).expect("a word");
        word.parse().expect("a number")
    };
    let plain = ask(&[]);
    let (mut accepted_all, mut drafted_all) = (0, 0);
    for drafts in 1..=4 {
        let ran = ask(&["--draft", &drafts.to_string()]);
        assert_eq!(ran.out, plain.out);
        let decoded = number(figure(&ran.err, "decode"), 0);
        assert_eq!(decoded, number(figure(&plain.err, "decode"), 0));
        let line = figure(&ran.err, "drafts");
        let (accepted, drafted) = (number(line, 0), number(line, 2));
        assert_eq!(drafted, drafts * (decoded - accepted), "{drafts}: {line}");
        accepted_all += accepted;
        drafted_all += drafted;
    }
    assert!(
        0 < accepted_all && accepted_all < drafted_all,
        "{accepted_all} of {drafted_all}"
    );
}

#[test]
fn videos_are_watched_for_logits_as_asked() {
    let checkpoint = Checkpoint::v41();
    let mut video = b"YUV4MPEG2 W24 H16 F2:1 Ip C444\n".to_vec();
    for frame in 0..4 {
        video.extend(b"FRAME\n");
        video.extend([frame * 20; 24 * 16 * 3]);
    }
    checkpoint.write("video.y4m", &video);
    let video = checkpoint.file("video.y4m");
    let rows = |more: &[&str]| {
        let args = ["--video", &video, "--prompt", "A "];
        checkpoint.logits(&[&args[..], more].concat()).done();
        table(checkpoint.file("out.safetensors").as_ref()).0[0]
    };
    let four = rows(&[]);
    // A frame is eight tokens behind its time, such as `<0.5s>`.
    assert_eq!(rows(&["--video-max-frames", "2"]), four - 2 * (8 + 6));
}

/// What is drafted while items are answered shows in the figures alone.
#[test]
fn eval_drafts_as_asked() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let item = json!({
        "task": "sum",
        "id": "sum-1",
        "messages": [{ "role": "user", "content": "What is 12 + 30?" }],
        "answer": "42",
        "thinking": true,
    });
    let file = folder.path().join("tasks.jsonl");
    std::fs::write(&file, item.to_string()).expect("the folder takes files");
    let file = file.display().to_string();
    let report = |drafts: &str| -> Value {
        let report = run(&["eval", &file, "--json", "--draft", drafts]).done();
        serde_json::from_str(&report).expect("JSON")
    };
    let (plain, drafted) = (report("0"), report("3"));
    assert_eq!(drafted["tokens"], plain["tokens"]);
    assert!(plain["drafts"].is_null());
    let count = |value: &Value| value.as_u64().expect("a count");
    let accepted = count(&drafted["drafts"]["accepted"]);
    // The first token comes with the prompt, each later step has three drafts.
    let steps = count(&plain["tokens"]["generated"]) - 1 - accepted;
    assert_eq!(count(&drafted["drafts"]["drafted"]), 3 * steps);
    assert!(accepted > 0);
}

#[cfg(target_os = "linux")]
mod system {
    use std::fs;
    use std::io::Read;
    use std::process::{Child, Command, Stdio};

    use serde_json::json;

    use crate::program::{Checkpoint, Ran, deepseek};

    /// How many threads a process has.
    fn threads(child: &Child) -> usize {
        let tasks = fs::read_dir(format!("/proc/{}/task", child.id())).expect("it is at work");
        tasks.count()
    }

    /// The most memory that a process has held by now, if it is still there.
    fn peak(child: &Child) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    }

    #[test]
    fn as_many_threads_compute_as_asked_for() {
        let checkpoint = Checkpoint::endless();
        let at_work = |threads_wanted: &str| {
            let model = [
                "run",
                "--model",
                checkpoint.path(),
                "--threads",
                threads_wanted,
            ];
            let flags = ["--raw", "--temperature", "0", "--context", "200000", "once"];
            let mut child = deepseek(&[&model[..], &flags].concat())
                .spawn()
                .expect("it starts");
            let mut stdout = child.stdout.take().expect("it is piped");
            stdout.read_exact(&mut [0; 1]).expect("an answer begins");
            let count = threads(&child);
            child.kill().expect("it is at work");
            child.wait().expect("it ends");
            count
        };
        let two = at_work("2");
        assert_eq!(at_work("7"), two + 5);
    }

    /// A chunk more makes no bit of the logits another, but all that a step holds is held for as
    /// many ids at a time.
    #[test]
    fn logits_run_as_many_ids_at_a_time_as_asked_for() {
        let checkpoint = Checkpoint::new();
        let ids = ["7"; 2000].join(",");
        let held = |chunk: &str| {
            let out = checkpoint.file("out.safetensors");
            let args = ["--ids", &ids, "--chunk", chunk, "--out", &out];
            let mut child = deepseek(&checkpoint.line("logits", &args))
                .spawn()
                .expect("it starts");
            let mut most = 0;
            while child.try_wait().expect("it can be asked").is_none() {
                most = most.max(peak(&child).unwrap_or(0));
                std::thread::yield_now();
            }
            most
        };
        let (few, many) = (held("20"), held("2000"));
        assert!(many > few + 4096, "{few} kB and {many} kB");
    }

    /// Runs a command line that may take no more than so many kilobytes of addresses.
    fn within(kilobytes: u32, line: &[String]) -> Ran {
        let limit = format!("ulimit -v {kilobytes}; exec \"$0\" \"$@\"");
        let output = Command::new("sh")
            .args(["-c", &limit, env!("CARGO_BIN_EXE_deepseek")])
            .args(line)
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .expect("there is a shell");
        output.into()
    }

    /// Room is taken for as many sequences as are answered at a time.
    #[test]
    fn eval_has_room_for_as_many_items_at_a_time_as_asked_for() {
        const CONTEXT: u32 = 1 << 20;
        /// A sequence of so many positions takes a fifteenth of it.
        const KILOBYTES: u32 = 2 << 20;

        let checkpoint = Checkpoint::new();
        checkpoint.set("max_position_embeddings", CONTEXT);
        let item = |number: usize| {
            json!({
                "task": "sum",
                "id": format!("sum-{number}"),
                "messages": [{ "role": "user", "content": "Say." }],
                "answer": "never said",
                "max_tokens": 1,
            })
        };
        let items: Vec<String> = (0..32).map(|number| item(number).to_string()).collect();
        checkpoint.write("tasks.jsonl", items.join("\n").as_bytes());
        let file = checkpoint.file("tasks.jsonl");
        let context = CONTEXT.to_string();
        let answer = |batch: &str| {
            let args = [file.as_str(), "--batch", batch, "--context", &context];
            let args = [&args[..], &["--numerics", "exact"]].concat();
            within(KILOBYTES, &checkpoint.line("eval", &args))
        };
        answer("1").done();
        let ran = answer("32");
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.err.contains("of cache and buffers"), "{ran:?}");
    }
}

#[test]
fn answers_of_a_checkpoint_are_rounded_as_the_released_code_rounds() {
    let checkpoint = printable().without_end("model.safetensors");
    let answers = |level: &[&str]| -> Vec<String> {
        let asked = ["a", "bc", "def", "ghij", "klmno", "pqrstu"].iter();
        let asked = asked.map(|prompt| {
            let told = ["run", "--model", checkpoint.path(), "--raw", prompt];
            let more = ["--temperature", "0", "--max-tokens", "24"];
            run(&[&told[..], &more, level].concat()).done()
        });
        asked.collect()
    };
    let default = answers(&[]);
    assert_eq!(default, answers(&["--numerics", "released"]));
    assert_ne!(default, answers(&["--numerics", "exact"]));
}
