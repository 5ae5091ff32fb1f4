from bench._measure import Minute, minutes, p99


def test_answers_belong_to_the_minute_in_which_they_came() -> None:
    noon = 1_763_640_000.0
    found = minutes([(noon + 60.0, 9.0), (noon, 1.0), (noon + 59.9, 3.0), (noon + 30.0, 2.0)])
    assert found == [Minute("12:00", 3, 2.0, 3.0, 3.0), Minute("12:01", 1, 9.0, 9.0, 9.0)]


def test_one_in_a_hundred_is_above() -> None:
    values = [float(each) for each in range(1, 201)]
    assert p99(values[::-1]) == 199.0
    assert p99([4.0]) == 4.0
