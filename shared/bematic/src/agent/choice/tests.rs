use proptest::prelude::*;

use super::*;

fn candidate(name: &str, connected: bool, health: Health, load: [usize; 3]) -> Candidate {
    let [held, waiting, capacity] = load;
    Candidate {
        id: name.parse().unwrap(),
        connected,
        health,
        held,
        waiting,
        capacity,
    }
}

fn name_of(chosen: Option<&Candidate>) -> &str {
    chosen.map_or("nobody", |it| it.id.as_str())
}

fn chosen(candidates: &[Candidate]) -> &str {
    name_of(choose(&candidates.iter().collect::<Vec<_>>()))
}

fn better_than(from: &Candidate, others: &[Candidate]) -> String {
    name_of(choose_better_than(from, &others.iter().collect::<Vec<_>>())).to_owned()
}

use Health::{Bad, Good, Probing};

#[test]
fn the_least_loaded_of_the_healthy_and_connected_gets_it() {
    // By the part that is taken, not by the number.
    let big = candidate("big", true, Good, [4, 0, 10]);
    let small = candidate("small", true, Good, [1, 0, 2]);
    assert_eq!(chosen(&[small.clone(), big.clone()]), "big");
    // Those that wait count as well.
    let queued = candidate("queued", true, Good, [0, 3, 5]);
    assert_eq!(chosen(&[queued, big.clone()]), "big");
    // Of equals, the first.
    let like_small = candidate("like-small", true, Good, [2, 0, 4]);
    assert_eq!(chosen(&[small.clone(), like_small.clone()]), "small");
    assert_eq!(chosen(&[like_small, small]), "like-small");
    // However idle those are that get none.
    let away = candidate("away", false, Good, [0, 0, 5]);
    let open = candidate("open", true, Bad, [0, 0, 5]);
    assert_eq!(chosen(&[away, open, big]), "big");
}

#[test]
fn one_that_may_be_tried_gets_one_task_or_it_would_never_be_well_again() {
    let well = candidate("well", true, Good, [0, 0, 5]);
    let idle = candidate("idle", true, Probing, [0, 0, 5]);
    let tried = candidate("tried", true, Probing, [1, 0, 5]);
    assert_eq!(chosen(&[well.clone(), idle]), "idle");
    assert_eq!(chosen(&[well, tried]), "well");
}

#[test]
fn without_any_that_is_well_it_goes_where_it_is_begun_first() {
    let open = candidate("open", true, Bad, [0, 0, 5]);
    let gone = candidate("gone", false, Bad, [0, 0, 5]);
    let away = candidate("away", false, Good, [5, 9, 5]);
    let half_open = candidate("half-open", true, Probing, [2, 2, 5]);
    let all = [gone.clone(), open.clone(), away.clone(), half_open];
    assert_eq!(chosen(&all), "half-open");
    assert_eq!(chosen(&[gone.clone(), open.clone(), away]), "away");
    assert_eq!(chosen(&[open, gone]), "open");
    assert_eq!(chosen(&[]), "nobody");
}

#[test]
fn a_task_is_moved_only_to_where_it_is_better_off() {
    let well = candidate("well", true, Good, [1, 0, 5]);
    let full = candidate("full", true, Good, [5, 0, 5]);
    let open = candidate("open", true, Bad, [0, 0, 5]);
    let half_open = candidate("half-open", true, Probing, [0, 0, 5]);
    let away = candidate("away", false, Good, [0, 0, 5]);
    for from in [&open, &half_open, &away, &full] {
        assert_eq!(better_than(from, std::slice::from_ref(&well)), "well");
    }
    // Behind one that takes no work for now it would wait longer than behind one that is full.
    assert_eq!(better_than(&open, std::slice::from_ref(&full)), "full");
    let other = candidate("other", true, Good, [5, 0, 5]);
    assert_eq!(better_than(&full, &[other, open.clone()]), "nobody");
    // One that has a slot sends it itself.
    assert_eq!(better_than(&well, &[full.clone(), away.clone()]), "nobody");
    assert_eq!(
        better_than(&open, &[away.clone(), half_open.clone()]),
        "half-open"
    );
    // Not where it would wait behind a probe.
    let tried = candidate("tried", true, Probing, [1, 0, 5]);
    assert_eq!(better_than(&full, &[away.clone(), tried]), "nobody");
    assert_eq!(better_than(&away, &[open.clone(), half_open]), "half-open");
    assert_eq!(better_than(&away, &[open]), "nobody");
    assert_eq!(
        better_than(&away, std::slice::from_ref(&away)),
        "nobody",
        "not to itself"
    );
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let health = prop_oneof![Just(Good), Just(Good), Just(Probing), Just(Bad)];
    let one = (any::<bool>(), health, 0..6_usize, 0..6_usize, 0..6_usize);
    prop::collection::vec(one, 1..7).prop_map(|all| {
        let all = all.into_iter().enumerate();
        all.map(|(n, (connected, health, held, waiting, capacity))| {
            candidate(
                &format!("a{n}"),
                connected,
                health,
                [held, waiting, capacity],
            )
        })
        .collect()
    })
}

proptest! {
    #[test]
    fn nobody_is_better_than_the_chosen(all in candidates()) {
        let all: Vec<_> = all.iter().collect();
        let chosen = choose(&all).unwrap();
        let ready: Vec<_> = all.iter().filter(|it| it.is_ready()).collect();
        let is_probe = chosen.may_probe() && chosen.load() == 0;
        if !chosen.is_ready() && !is_probe && ready.iter().any(|it| it.has_room()) {
            prop_assert!(false, "{chosen:?} rather than one that is well and has room");
        }
        if chosen.is_ready() {
            let less = |it: &&&&Candidate| it.compare_load_ratio(chosen).is_lt();
            prop_assert!(!ready.iter().any(|it| less(&it)));
            let first = all.iter().find(|it| it.is_ready() && it.compare_load_ratio(chosen).is_eq());
            prop_assert_eq!(&first.unwrap().id, &chosen.id, "of equals, the first");
        }
        // Of those that are away or shut only if there are no others.
        prop_assert!(chosen.is_ready() || chosen.may_probe()
            || !all.iter().any(|it| it.is_ready() || it.may_probe()));
    }

    #[test]
    fn loads_are_in_one_order(all in candidates()) {
        let mut sorted = all.clone();
        // Panics if it is no order.
        sorted.sort_by(Candidate::compare_load_ratio);
        for pair in sorted.windows(2) {
            prop_assert!(pair[0].compare_load_ratio(&pair[1]).is_le());
            prop_assert_eq!(pair[0].compare_load_ratio(&pair[1]), pair[1].compare_load_ratio(&pair[0]).reverse());
        }
    }

    /// A task that was moved stays there as long as nothing else happens.
    #[test]
    fn nothing_is_moved_to_and_fro(all in candidates(), from in any::<prop::sample::Index>()) {
        let mut all = all;
        let mut at = from.index(all.len());
        for moved in 0..3 {
            let all_of_them: Vec<_> = all.iter().collect();
            let Some(to) = choose_better_than(&all[at], &all_of_them).map(|to| to.id.clone()) else { break };
            prop_assert!(moved == 0, "moved on from {:?}", all[at]);
            let from = all[at].clone();
            at = all.iter().position(|it| it.id == to).unwrap();
            prop_assert!(all[at].connected && all[at].health != Bad);
            prop_assert!(!from.is_ready() || all[at].has_room());
            all[at].waiting += 1;
        }
    }
}
