use deepseek_text::*;
fn rss() -> String { std::fs::read_to_string("/proc/self/status").unwrap().lines().find(|l| l.starts_with("VmHWM")).unwrap().to_string() }
#[test]
fn big() {
    let t = Tokenizer::open("../../tests/fixtures/text/tokenizer.json").unwrap();
    println!("{}", rss());
    for m in [1usize, 2,3,4,5,8,10,12,16] {
      for tail in ["", "x", "\n"] {
        for head in ["", "a", "\r"] {
        let text = head.to_string() + &" ".repeat(m * 1_000_000) + tail;
        let r = std::panic::catch_unwind(|| t.encode(&text).map(|i| i.len()));
        if r.is_err() { println!("{m} {head:?} {tail:?} PANIC"); }
      }}
    }
    println!("{}", rss());
    for c in ["a", "é", "!", "1", "素", "\t", "\u{2003}"] { let text = c.repeat((16 << 20) / c.len());
      let r = std::panic::catch_unwind(|| t.encode(&text).map(|i| i.len()));
      println!("{c:?} {} {}", r.is_ok(), rss()); }
}
