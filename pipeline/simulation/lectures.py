"""The problems that lectures on neural networks name: what tells their two classes apart.

Owns the table; how events are drawn from it is in ``problems``. The numbers are rounded and chosen for a
plausible story, so that a classifier has about as much to find as it would in the field: they come from no
catalogue, no trial and no portfolio, and nothing that is learnt from them holds of the real thing.
"""

from pipeline.simulation.problems import Bend, Count, Feature, Problem

EARTHQUAKE_EXPLOSION = Problem(
    name="earthquake-explosion",
    question="Was that an earthquake or an explosion?",
    signal="explosion",
    background="earthquake",
    story=(
        "An explosion pushes outward on all sides: strong P waves, weak S and surface waves, near the surface.",
        "Magnitude by itself tells nothing, but it shifts the corner frequency, and the difference of magnitudes.",
    ),
    features=(
        Feature("ps_ratio", "", signal=1.3, background=0.7, spread=0.6, scale="log"),
        Feature("corner_frequency", "Hz", signal=5.0, background=3.5, spread=0.5, scale="log"),
        Feature("depth", "km", signal=4.0, background=9.0, spread=0.9, scale="log"),
        Feature("body_minus_surface_magnitude", "", signal=0.8, background=0.3, spread=0.4),
        Feature("magnitude", "", signal=4.0, background=4.0, spread=0.6),
    ),
    correlations=(
        ("corner_frequency", "magnitude", -0.6),
        ("ps_ratio", "corner_frequency", 0.2),
        ("ps_ratio", "body_minus_surface_magnitude", 0.3),
    ),
    bends=(Bend("body_minus_surface_magnitude", by="magnitude", strength=0.6),),
)

SHARK_DOLPHIN = Problem(
    name="shark-dolphin",
    question="Are those sonar blips sharks or dolphins?",
    signal="dolphin",
    background="shark",
    story=(
        "A dolphin's lungs are full of air and echo well; it is faster, beats its tail more often, stays near the",
        "surface and swims at more changing angles to the beam, which sweep the frequency of the echo.",
    ),
    features=(
        Feature("target_strength", "dB", signal=-21.0, background=-25.0, spread=4.0),
        Feature("echo_length", "ms", signal=3.2, background=3.8, spread=0.3, scale="log"),
        Feature("frequency_sweep", "Hz", signal=60.0, background=35.0, spread=0.6, scale="log"),
        Feature("speed", "m/s", signal=2.6, background=1.7, spread=0.5, scale="log"),
        Feature("tail_beat", "Hz", signal=1.6, background=1.1, spread=0.4, scale="log"),
        Feature("depth", "m", signal=20.0, background=40.0, spread=0.9, scale="log"),
    ),
    correlations=(
        ("target_strength", "echo_length", 0.5),
        ("speed", "tail_beat", 0.6),
        ("frequency_sweep", "speed", 0.4),
    ),
    bends=(Bend("target_strength", by="frequency_sweep", strength=-0.8),),
)

SICK_WELL = Problem(
    name="sick-well",
    question="Is this patient sick or well?",
    signal="sick",
    background="well",
    story=(
        "An infection raises temperature, pulse and the white cells, and most of all C-reactive protein; the pulse",
        "follows the temperature anyhow. Age tells nothing, but moves pressure and pulse, and the very young and the",
        "very old run less of a fever and have fewer white cells.",
    ),
    features=(
        Feature("temperature", "degree C", signal=37.7, background=36.8, spread=0.6),
        Feature("pulse", "1/min", signal=88.0, background=74.0, spread=12.0),
        Feature("white_cells", "10^9/L", signal=9.5, background=6.8, spread=0.35, scale="log"),
        Feature("c_reactive_protein", "mg/L", signal=8.0, background=2.5, spread=1.1, scale="log"),
        Feature("systolic_pressure", "mmHg", signal=122.0, background=128.0, spread=14.0),
        Feature("age", "year", signal=48.0, background=48.0, spread=14.0),
    ),
    correlations=(
        ("temperature", "pulse", 0.5),
        ("temperature", "c_reactive_protein", 0.3),
        ("white_cells", "c_reactive_protein", 0.4),
        ("systolic_pressure", "age", 0.5),
        ("pulse", "age", -0.2),
    ),
    bends=(Bend("white_cells", by="age", strength=-0.4), Bend("temperature", by="age", strength=-0.2)),
)

INVESTMENT_RISK = Problem(
    name="investment-risk",
    question="Is this company a sound investment or a big risk?",
    signal="sound",
    background="risk",
    story=(
        "Sound companies owe less of what they have, earn more of what they sell, and can pay what falls due; those",
        "that shrink or grow fast earn less than others, be they sound or not.",
    ),
    features=(
        Feature("debt_share", "", signal=0.45, background=0.62, spread=0.8, scale="share"),
        Feature("profit_margin", "%", signal=8.0, background=3.0, spread=6.0),
        Feature("current_ratio", "", signal=1.7, background=1.2, spread=0.45, scale="log"),
        Feature("growth", "% per year", signal=6.0, background=6.0, spread=8.0),
        Feature("volatility", "% per year", signal=25.0, background=36.0, spread=0.4, scale="log"),
        Feature("age", "year", signal=22.0, background=14.0, spread=0.8, scale="log"),
    ),
    correlations=(
        ("debt_share", "current_ratio", -0.5),
        ("growth", "volatility", 0.4),
        ("profit_margin", "debt_share", -0.2),
        ("age", "volatility", -0.3),
    ),
    bends=(Bend("profit_margin", by="growth", strength=-0.7),),
)

SPAM_GENUINE = Problem(
    name="spam-genuine",
    question="Is this e-mail spam or genuine?",
    signal="spam",
    background="genuine",
    story=(
        "Counts of the first hundred words, small numbers of which many are zero, with the length of the message,",
        "the share of it that is markup, and how long its sender has been known.",
    ),
    features=(
        Feature("length", "word", signal=130.0, background=160.0, spread=0.8, scale="log"),
        Feature("markup_share", "", signal=0.5, background=0.35, spread=1.0, scale="share"),
        Feature("sender_known", "day", signal=20.0, background=90.0, spread=1.6, scale="log"),
    ),
    counts=(
        Count("links", signal=2.2, background=0.9),
        Count("exclamation_marks", signal=1.4, background=0.5),
        Count("capital_words", signal=3.0, background=1.6),
        Count("misspellings", signal=1.2, background=0.9),
        Count("recipients_beside_you", signal=0.8, background=0.8),
    ),
    correlations=(("length", "markup_share", 0.4),),
    bends=(Bend("markup_share", by="length", strength=-0.5),),
)

PROBLEMS = (EARTHQUAKE_EXPLOSION, SHARK_DOLPHIN, SICK_WELL, INVESTMENT_RISK, SPAM_GENUINE)
