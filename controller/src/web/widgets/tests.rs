use super::bar::Spark;
use super::query::Query;
use super::{Risk, format, risk};

#[test]
fn numbers_have_their_unit_after_a_space_and_no_more_digits_than_they_are_worth() {
    for (ratio, text) in [(0.984, "98 %"), (0.074, "7.4 %"), (0.0, "0 %"), (1.0, "100 %"), (0.0996, "10 %")] {
        assert_eq!(format::percent(ratio), text);
    }
    for (amount, text) in [(0, "0 B"), (1023, "1023 B"), (1_300_000_000, "1.2 GiB"), (64 << 20, "64 MiB")] {
        assert_eq!(format::bytes(amount), text);
    }
    assert_eq!(format::rate(41_200_000.0), "41 MB/s");
    assert_eq!(format::rates(14e6, 3.7e6), "14 / 3.7 MB/s");
    assert_eq!(format::rates(3.8e6, 99e4), "3.8 / 1 MB/s");
    assert_eq!(format::count(184_233), "184,233");
    assert_eq!(format::count(7), "7");
}

#[test]
fn lengths_of_time_use_the_units_people_say() {
    for (ms, text) in
        [(0, "0 s"), (59_999, "59 s"), (360_000, "6 min"), (90_000_000, "25 h"), (41 * 86_400_000, "41 d")]
    {
        assert_eq!(format::age(ms), text);
    }
    for (ms, text) in [(850, "850 ms"), (1_940, "1.9 s"), (100_000, "1 min 40 s"), (7_800_000, "2 h 10 min")]
    {
        assert_eq!(format::duration(ms), text);
    }
    let now = 1_795_403_640_000;
    assert_eq!(format::sentence(now), "Monday 23 November 2026, 03:14 UTC");
    assert_eq!(format::full(now, now - 400 * 86_400_000), "19 Oct 2025 03:14:00 UTC");
}

#[test]
fn a_line_with_a_hole_is_drawn_in_two_pieces_and_never_across_it() {
    let points = [Some(1.0), Some(2.0), None, Some(3.0), Some(1.0)];
    let spark = Spark { points: &points, size: (40, 10), top: None, stretch: false, class: "", label: None };
    let drawn = spark.draw().into_string();
    assert_eq!(drawn.matches('M').count(), 4, "{drawn}");
}

#[test]
fn a_query_keeps_its_order_and_escapes_what_could_end_it() {
    let query = Query::default().with("label", "role=web").with("label", "site=a&b").with("after", "x");
    assert_eq!(query.without("label", "role=web").href("/hosts"), "/hosts?label=site%3Da%26b");
    assert_eq!(query.set("sort", "-cpu").get("after"), None);
}

#[test]
fn risk_is_told_by_bars_and_by_a_word() {
    let drawn = risk::risk(Risk::Medium).into_string();
    assert_eq!(drawn.matches("opacity=\"1\"").count(), 2);
    assert!(drawn.contains("Medium risk"));
}
