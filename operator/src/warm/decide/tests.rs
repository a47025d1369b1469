use super::*;

fn lender(serves: bool, missing: &[&str]) -> Lender {
    Lender {
        name: "default".into(),
        timeout: Duration::from_secs(600),
        condition: false,
        serves,
        missing: missing.iter().map(|text| (*text).to_owned()).collect(),
        datasets: 2,
    }
}

fn sight(tainted: bool, waited: u64, lenders: Vec<Lender>) -> Sight {
    Sight { node: Arc::default(), tainted, condition: None, waited: Duration::from_secs(waited), lenders }
}

fn said(holds: bool, reason: &str) -> Said {
    Said { holds, reason: reason.into(), message: String::new() }
}

/// `lift`, the condition's reason or what becomes of it, the end's reason.
fn short(change: Option<Change>) -> (bool, String, String) {
    let Some(Change { lift, condition, end }) = change else { return (false, "nothing".into(), String::new()) };
    let condition = match condition {
        Written::Kept => "kept".into(),
        Written::Removed => "removed".into(),
        Written::Set(said) => format!("{}{}", if said.holds { "+" } else { "-" }, said.reason),
    };
    (lift, condition, end.map(|end| end.reason).unwrap_or_default())
}

#[test]
fn a_tainted_node_waits_until_it_is_warm_or_its_time_is_over() {
    let dull = |lender: Lender| Lender { timeout: Duration::from_secs(5), ..lender };
    let table = [
        ("warm", sight(true, 0, vec![lender(true, &[])]), (true, "kept", "Warm")),
        ("no agent", sight(true, 599, vec![lender(false, &[])]), (false, "-Warming", "")),
        ("data on its way", sight(true, 599, vec![lender(true, &["ml/a: 3 of 9 files"])]), (false, "-Warming", "")),
        ("late", sight(true, 600, vec![lender(true, &["ml/a: no"])]), (true, "kept", "WarmUpTimedOut")),
        ("late without an agent", sight(true, 600, vec![lender(false, &[])]), (true, "kept", "WarmUpTimedOut")),
        ("one of two", sight(true, 9, vec![lender(true, &[]), lender(false, &[])]), (false, "-Warming", "")),
        (
            "the one that lacks counts",
            sight(true, 9, vec![lender(true, &[]), dull(lender(false, &[]))]),
            (true, "kept", "WarmUpTimedOut"),
        ),
        ("nobody's, new", sight(true, 59, vec![]), (false, "-Warming", "")),
        ("nobody's", sight(true, 60, vec![]), (true, "kept", "WarmUpTimedOut")),
        ("not ours to say", sight(false, 0, vec![lender(true, &[])]), (false, "nothing", "")),
    ];
    for (what, sight, (lift, condition, end)) in table {
        assert_eq!(short(decide(&sight)), (lift, condition.to_owned(), end.to_owned()), "{what}");
    }
}

#[test]
fn the_condition_is_set_where_it_is_wished_and_taken_away_where_it_is_not() {
    let wishing = |serves| Lender { condition: true, ..lender(serves, &[]) };
    let with = |sight: Sight, condition: Said| Sight { condition: Some(condition), ..sight };
    let table = [
        ("new", sight(false, 0, vec![wishing(false)]), (false, "-Warming", "")),
        ("warm without a taint", sight(false, 0, vec![wishing(true)]), (false, "+Warm", "Warm")),
        ("warm with one", sight(true, 0, vec![wishing(true)]), (true, "+Warm", "Warm")),
        ("late", sight(true, 600, vec![wishing(false)]), (true, "+WarmUpTimedOut", "WarmUpTimedOut")),
        ("true for good", with(sight(false, 0, vec![wishing(false)]), said(true, "Warm")), (false, "nothing", "")),
        ("tainted anew", with(sight(true, 0, vec![wishing(false)]), said(true, "Warm")), (false, "-Warming", "")),
        ("not wished any more", with(sight(false, 0, vec![lender(true, &[])]), said(true, "Warm")), (false, "removed", "")),
        ("nobody's any more", with(sight(false, 0, vec![]), said(false, "Warming")), (false, "removed", "")),
        ("of the taint alone", with(sight(true, 5, vec![lender(true, &[])]), said(false, "Warming")), (true, "removed", "Warm")),
    ];
    for (what, sight, (lift, condition, end)) in table {
        assert_eq!(short(decide(&sight)), (lift, condition.to_owned(), end.to_owned()), "{what}");
    }
}

#[test]
fn what_is_said_already_is_not_written_again() {
    let sight = sight(true, 1, vec![lender(true, &["ml/a: no", "ml/b: no", "ml/c: no", "ml/d: no", "ml/e: no"])]);
    let Some(Change { condition: Written::Set(first), .. }) = decide(&sight) else { panic!("nothing is written") };
    assert_eq!(first.message, "ml/a: no; ml/b: no; ml/c: no; and 2 more Datasets");
    assert_eq!(decide(&Sight { condition: Some(first), ..sight }), None);
}
