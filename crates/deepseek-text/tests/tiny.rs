//! The tokenizer of the demonstration checkpoint, as it lies in the repository.

use deepseek_text::Tokenizer;
use expect_test::expect_file;

#[test]
fn the_tiny_tokenizer_in_the_assets_is_the_one_we_make() {
    let made = Tokenizer::tiny_json(512).expect("512 ids hold every marker");
    expect_file!["../../../assets/tiny/tokenizer.json"].assert_eq(&made);
    Tokenizer::parse(made.as_bytes()).expect("what we make can be read");
}
