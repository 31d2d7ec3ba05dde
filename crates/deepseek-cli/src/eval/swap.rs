//! Media of other items: who answers as before has not looked, nor listened.

use std::collections::BTreeMap;
use std::mem::{Discriminant, discriminant};

use deepseek_text::Part;

use super::limits::SWAP_REACH;
use super::task::Item;

/// Gives every item the media of the next one of its task that has others of the same kinds and
/// another answer; the last go on at the first. An item without media, or without such a partner,
/// is left out.
pub(super) fn swap(items: Vec<Item>) -> Vec<Item> {
    let media: Vec<Vec<Part>> = items
        .iter()
        .map(|item| item.conversation.media().cloned().collect())
        .collect();
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        groups.entry(&item.task).or_default().push(index);
    }
    let partner = |index: usize| {
        let group = &groups[items[index].task.as_str()];
        let place = group.binary_search(&index).ok()?;
        let others = group[place + 1..].iter().chain(&group[..place]);
        others.take(SWAP_REACH).copied().find(|other| {
            items[*other].want != items[index].want
                && media[*other] != media[index]
                && kinds(&media[*other]).eq(kinds(&media[index]))
        })
    };
    let partners: Vec<Option<usize>> = (0..items.len()).map(partner).collect();
    let swapped = items
        .into_iter()
        .zip(partners)
        .filter_map(|(mut item, partner)| {
            let others = &media[partner?];
            for (own, other) in item.conversation.media_mut().zip(others) {
                *own = other.clone();
            }
            Some(item)
        });
    swapped.collect()
}

fn kinds(media: &[Part]) -> impl Iterator<Item = Discriminant<Part>> + '_ {
    media.iter().map(discriminant)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use deepseek_text::{Content, Conversation};

    use super::super::want::Want;
    use super::*;

    fn item(task: &str, answer: &str, media: &[Part]) -> Item {
        let parts = [media, &[Part::Text("How many?".to_owned())]].concat();
        Item {
            task: task.to_owned(),
            id: "id".to_owned(),
            file: Path::new("tasks.jsonl").into(),
            line: 1,
            conversation: Conversation::ask(Content(parts)),
            want: Want::Exact(answer.to_owned()),
            thinking: false,
            max_tokens: 1,
        }
    }

    fn image(name: &str) -> Part {
        Part::Image(name.to_owned())
    }

    /// The answer that is wanted of each item, and what it is shown in the end.
    fn swapped(items: Vec<Item>) -> Vec<(String, Vec<Part>)> {
        let seen = |item: Item| {
            (
                item.want.show(),
                item.conversation.media().cloned().collect(),
            )
        };
        swap(items).into_iter().map(seen).collect()
    }

    #[test]
    fn the_next_of_another_answer_lends_its_media() {
        let items = [("1", "a"), ("1", "b"), ("2", "c"), ("2", "c"), ("3", "d")];
        let items = items.map(|(answer, name)| item("t", answer, &[image(name)]));
        let seen = swapped(items.to_vec());
        let names = ["c", "c", "d", "d", "a"];
        let want: Vec<_> = ["1", "1", "2", "2", "3"]
            .into_iter()
            .zip(names)
            .map(|(answer, name)| (answer.to_owned(), vec![image(name)]))
            .collect();
        assert_eq!(seen, want);
    }

    #[test]
    fn tasks_and_kinds_of_media_are_kept_apart() {
        let audio = Part::Audio("s".to_owned());
        let items = vec![
            item("t", "1", &[image("a")]),
            item("u", "2", &[image("b")]),
            item("t", "3", std::slice::from_ref(&audio)),
            item("t", "4", &[image("d"), audio]),
            item("t", "5", &[]),
        ];
        assert_eq!(swapped(items), []);
    }

    #[test]
    fn one_image_under_two_questions_is_not_swapped_with_itself() {
        let items = ["1", "2"].map(|answer| item("t", answer, &[image("a")]));
        assert_eq!(swapped(items.to_vec()), []);
    }
}
