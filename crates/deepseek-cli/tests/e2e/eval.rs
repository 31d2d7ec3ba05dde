//! `deepseek eval`.

use serde_json::{Value, json};

use crate::program::{Checkpoint, Ran};
use crate::v41::{bmp, checkpoint};

/// A question in words.
fn ask(task: &str, number: usize, answer: &str) -> Value {
    json!({
        "task": task,
        "id": format!("{task}-{number}"),
        "messages": [{ "role": "user", "content": format!("Say {number} times {task}.") }],
        "answer": answer,
        "max_tokens": 8,
    })
}

/// A question about an image.
fn look(number: usize, image: &str, answer: &str) -> Value {
    let parts = json!([
        { "type": "image_url", "image_url": { "url": image } },
        { "type": "text", "text": "What?" },
    ]);
    let mut item = ask("look", number, answer);
    item["messages"] = json!([{ "role": "user", "content": parts }]);
    item
}

/// Writes a task file beside the checkpoint's own files.
fn write(checkpoint: &Checkpoint, items: &[Value]) -> String {
    let lines: Vec<String> = items.iter().map(ToString::to_string).collect();
    checkpoint.write("tasks.jsonl", lines.join("\n").as_bytes());
    checkpoint.file("tasks.jsonl")
}

fn eval(checkpoint: &Checkpoint, items: &[Value], more: &[&str]) -> Ran {
    let file = write(checkpoint, items);
    checkpoint.run("eval", &[&[file.as_str()], more].concat())
}

/// The JSON of a run, without what the clock says and what was drafted.
#[track_caller]
fn report(checkpoint: &Checkpoint, items: &[Value], more: &[&str]) -> Value {
    let more = [more, &["--json", "--failures"]].concat();
    let json = eval(checkpoint, items, &more).done();
    let mut value: Value = serde_json::from_str(&json).expect("JSON");
    let seconds = value["seconds"].take();
    assert!(
        seconds.as_f64().is_some_and(|seconds| seconds >= 0.0),
        "{seconds}"
    );
    value.as_object_mut().expect("an object").remove("drafts");
    value
}

/// What was said instead of an answer that nobody gives, item by item.
fn said(report: &Value) -> Vec<String> {
    let failures = report["failures"].as_array().expect("failures");
    let said = failures
        .iter()
        .map(|failure| failure["got"].as_str().expect("text").to_owned());
    said.collect()
}

/// Items with the answers that the model gives.
fn learnt(checkpoint: &Checkpoint, items: &[Value]) -> Vec<Value> {
    let said = said(&report(checkpoint, items, &[]));
    assert_eq!(said.len(), items.len(), "nobody gives these answers");
    let mut items = items.to_vec();
    for (item, said) in items.iter_mut().zip(said) {
        item["answer"] = json!(said);
    }
    items
}

#[test]
fn right_answers_are_counted_by_task() {
    let checkpoint = Checkpoint::v41();
    let items = [("sum", 1), ("sum", 2), ("rhyme", 1)];
    let items = items.map(|(task, number)| ask(task, number, "never said"));
    let mut items = learnt(&checkpoint, &items);
    items[1]["answer"] = json!("never said");
    let ran = eval(&checkpoint, &items, &["--failures"]);
    assert_eq!(ran.err, "");
    let out = ran.done();
    let lines: Vec<&str> = out.lines().collect();
    let table = [
        "task   items  right  accuracy  95 % interval",
        "rhyme      1      1   100.0 %   20.7 to 100.0 %",
        "sum        2      1    50.0 %    9.5 to  90.5 %",
        "all        3      2    66.7 %   20.8 to  93.9 %",
        "",
    ];
    assert_eq!(lines[..5], table);
    assert!(lines[5].starts_with("3 of 3 items in "), "{}", lines[5]);
    assert!(lines[7].starts_with("sum sum-2 ("), "{}", lines[7]);
    assert!(lines[7].ends_with("tasks.jsonl:2)"), "{}", lines[7]);
    assert_eq!(
        lines[8..10],
        [
            "  question  \"Say 2 times sum.\"",
            "  expected  \"never said\""
        ]
    );
    assert!(lines[10].starts_with("  got       \""), "{}", lines[10]);
    assert_eq!(lines[11..], ["  finish    length"], "{out}");
}

#[test]
fn json_has_all_figures() {
    let checkpoint = Checkpoint::v41();
    let items = learnt(
        &checkpoint,
        &[ask("sum", 1, "never said"), ask("sum", 2, "never said")],
    );
    let value = report(
        &checkpoint,
        &items,
        &["--ablate", "engram", "--ablate", "indexer"],
    );
    assert_eq!(value["ablate"], json!(["engram", "indexer"]));
    let value = report(&checkpoint, &items, &[]);
    let tokens = value["tokens"].clone();
    assert!(tokens["prompt"].as_u64() > Some(20) && tokens["generated"].as_u64() > Some(1));
    let mut all = json!({ "items": 2, "right": 2, "accuracy": 1.0, "interval": [0.0, 1.0] });
    all["interval"] = value["total"]["interval"].clone();
    let mut task = all.clone();
    task["task"] = json!("sum");
    let whole = json!({
        "tasks": [task],
        "total": all,
        "asked": 2,
        "interrupted": false,
        "finish": { "length": 2 },
        "seconds": null,
        "tokens": tokens,
        "swap_media": false,
        "ablate": [],
        "failures": [],
    });
    assert_eq!(value, whole);
}

#[test]
fn neither_neighbours_nor_drafts_change_an_answer() {
    let checkpoint = checkpoint();
    let texts = (1..6).map(|number| ask("sum", number, "never said"));
    let items: Vec<Value> = texts.chain([look(1, "red.bmp", "never said")]).collect();
    let one = report(&checkpoint, &items, &["--batch", "1"]);
    assert_eq!(report(&checkpoint, &items, &["--batch", "4"]), one);
    assert_eq!(
        report(&checkpoint, &items, &["--batch", "32", "--draft", "3"]),
        one
    );
}

#[test]
fn tasks_and_their_first_items_can_be_chosen() {
    let checkpoint = Checkpoint::v41();
    let names = ["sum", "rhyme", "sum", "sum", "rhyme"];
    let items: Vec<Value> = (1..)
        .zip(names)
        .map(|(n, task)| ask(task, n, "never said"))
        .collect();
    let ids = |more: &[&str]| -> Vec<String> {
        let value = report(&checkpoint, &items, more);
        let failures = value["failures"].as_array().expect("failures").clone();
        failures
            .iter()
            .map(|one| one["id"].as_str().expect("text").to_owned())
            .collect()
    };
    assert_eq!(ids(&["--limit", "1"]), ["sum-1", "rhyme-2"]);
    assert_eq!(ids(&["--task", "rhyme"]), ["rhyme-2", "rhyme-5"]);
    assert_eq!(
        ids(&["--task", "rhyme", "--task", "sum", "--limit", "2"]).len(),
        4
    );
    let ran = eval(&checkpoint, &items, &["--task", "verse"]);
    ran.failed(
        2,
        "--task verse: no item is of this task",
        "there are rhyme, sum",
    );
}

#[test]
fn swapped_images_make_right_answers_wrong() {
    let checkpoint = checkpoint();
    let items = [
        look(1, "red.bmp", "never said"),
        look(2, "blue.bmp", "never said"),
    ];
    let mut items = learnt(&checkpoint, &items);
    assert_ne!(items[0]["answer"], items[1]["answer"]);
    items.push(ask("sum", 3, "never said"));
    let straight = report(&checkpoint, &items, &[]);
    assert_eq!(
        (&straight["total"]["right"], &straight["total"]["items"]),
        (&json!(2), &json!(3))
    );
    let swapped = report(&checkpoint, &items, &["--swap-media"]);
    assert_eq!(
        (&swapped["total"]["right"], &swapped["total"]["items"]),
        (&json!(0), &json!(2))
    );
    assert_eq!(swapped["swap_media"], json!(true));
    let answers = [&items[1]["answer"], &items[0]["answer"]]
        .map(|said| said.as_str().expect("text").to_owned());
    assert_eq!(said(&swapped), answers);
    // A question says which image was really shown.
    let question = swapped["failures"][0]["question"].as_str().expect("text");
    let shown = checkpoint.file("blue.bmp");
    assert_eq!(question, format!("[{shown}] What?"));

    let ran = eval(&checkpoint, &items[2..], &["--swap-media"]);
    ran.failed(
        3,
        "no two items of a task have media that can be swapped",
        "",
    );
}

#[test]
fn parts_of_the_model_can_be_put_out_of_work() {
    let checkpoint = Checkpoint::v41();
    // Longer than what an indexer lets a query see.
    let items: Vec<Value> = (1..5)
        .map(|number| {
            let mut item = ask("sum", number, "never said");
            item["messages"][0]["content"] = json!(format!("{number} plus ").repeat(20));
            item
        })
        .collect();
    let whole = said(&report(&checkpoint, &items, &[]));
    assert_ne!(
        said(&report(&checkpoint, &items, &["--ablate", "engram"])),
        whole
    );
    let drawn = |seed| {
        said(&report(
            &checkpoint,
            &items,
            &["--ablate", "indexer", "--seed", seed],
        ))
    };
    assert_ne!(drawn("1"), whole);
    assert_ne!(drawn("1"), drawn("2"));
    assert_eq!(drawn("1"), drawn("1"));
}

#[test]
fn a_file_that_does_not_hold_is_named_with_the_line() {
    let checkpoint = checkpoint();
    let good = ask("sum", 1, "3");
    let mut nameless = good.clone();
    nameless["task"] = json!("");
    eval(&checkpoint, &[good.clone(), json!([])], &[]).failed(
        3,
        "tasks.jsonl:2: not an item: ",
        "",
    );
    eval(&checkpoint, &[good.clone(), nameless], &[]).failed(
        3,
        "tasks.jsonl:2: task of 0 bytes",
        "",
    );
    eval(&checkpoint, &[], &[]).failed(3, "hold no items", "");
    let away = [good.clone(), look(2, "nowhere.bmp", "x")];
    eval(&checkpoint, &away, &[]).failed(3, "tasks.jsonl:2: ", "");
    checkpoint.write("cut.bmp", &bmp(40, 30, 1)[..300]);
    let cut = [good.clone(), look(2, "cut.bmp", "x")];
    eval(&checkpoint, &cut, &[]).failed(3, "tasks.jsonl:2: ", "PNG, JPEG");
    let ran = eval(
        &checkpoint,
        std::slice::from_ref(&good),
        &["--context", "9"],
    );
    ran.failed(3, "tasks.jsonl:1: a prompt of ", "raise --context");
    let ran = checkpoint.run("eval", &["nowhere.jsonl"]);
    ran.failed(3, "nowhere.jsonl", "");
    assert_eq!(
        eval(&checkpoint, std::slice::from_ref(&good), &["--batch", "33"]).code,
        Some(2)
    );
    assert_eq!(eval(&checkpoint, &[good], &["--limit", "0"]).code, Some(2));
}

#[test]
fn a_text_of_any_length_finds_room() {
    let checkpoint = Checkpoint::new();
    checkpoint.set("max_position_embeddings", 16_384);
    let mut long = ask("recall", 1, "never said");
    long["messages"][0]["content"] = json!("far ".repeat(2300));
    let value = report(&checkpoint, &[long], &[]);
    assert!(value["tokens"]["prompt"].as_u64() > Some(9000), "{value}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_what_has_been_answered() {
    let checkpoint = Checkpoint::v41().without_end("model-00001-of-00001.safetensors");
    let mut forever = ask("sum", 4, "never said");
    forever["max_tokens"] = json!(1_000_000);
    let items = [
        ask("sum", 1, "never said"),
        ask("sum", 2, "never said"),
        look(3, "/dev/stdin", "never said"),
        forever,
        ask("sum", 5, "never said"),
    ];
    let file = write(&checkpoint, &items);
    let flags = [file.as_str(), "--batch", "1", "--context", "4096", "--json"];
    let mut child = crate::program::deepseek(&checkpoint.line("eval", &flags))
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    // It reads stdin for the third item when the first has been answered. More than a pipe holds can be
    // written then alone.
    let mut stdin = child.stdin.take().expect("it is piped");
    let mut bytes = bmp(40, 30, 2);
    bytes.resize(1 << 17, 0);
    std::io::Write::write_all(&mut stdin, &bytes).expect("it reads on");
    crate::program::interrupt(&child);
    drop(stdin);
    let ran = Ran::from(child.wait_with_output().expect("it ends"));
    assert_eq!((ran.code, ran.err.as_str()), (Some(130), ""), "{ran:?}");
    let value: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(
        (&value["interrupted"], &value["asked"]),
        (&json!(true), &json!(5))
    );
    let answered = value["total"]["items"].as_u64().expect("a count");
    assert!((1..4).contains(&answered), "{value}");
}
