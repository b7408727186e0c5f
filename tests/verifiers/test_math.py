"""Math: each class of notation with what equals it and what does not; hedges and hacks; nothing stalls."""

import subprocess
import sys
from typing import Any

import pytest

from vlmrl import catalog
from vlmrl.reading.expressions import equal
from vlmrl.reading.notation import clean


def score(response: str, target: Any, **params: Any) -> float | None:
    return catalog.load("verifiers", "math").verify(response, target, **params).score


EQUAL = [
    # Intervals and other regions of the line.
    ("[0,1]", "[0, 1]"), (r"\left(-\infty,2\right]", r"(-\infty,2]"), (r"x \le 2", r"(-\infty,2]"), ("]0,1[", "(0,1)"),
    (r"x<2 \text{ or } x>3", r"(-\infty,2)\cup(3,\infty)"), (r"(3,\infty)\cup(-\infty,2)", r"(-∞,2)\cup(3,+\infty)"),
    ("2 > x > 1", "(1,2)"), (r"\{x \mid 1<x<2\}", "(1,2)"), (r"x>-2 \text{ and } x<3", "-2<x<3"),
    (r"\mathbb{R}\setminus\{0\}", r"(-\infty,0)\cup(0,\infty)"), (r"\text{all real numbers}", r"(-\infty,\infty)"),
    (r"1\leq|z|\leq 2", r"[-2,-1]\cup[1,2]"), (r"x\ne 3", r"(-\infty,3)\cup(3,\infty)"), ("x>5", r"x \in (5,\infty)"),
    # Sets, lists, tuples, both signs.
    (r"\{1,2,3\}", "{3,2,1}"), ("1, 2, 3", r"\{1,2,3\}"), (r"\{3\}", "3"), (r"\{1,2\}\cup\{3\}", r"\{1,2,3\}"),
    (r"\text{no solution}", r"\emptyset"), (r"\{1, 1, 2\}", r"\{1,2\}"), (r"x = \pm 2", r"\{-2, 2\}"),
    (r"3\pm\sqrt2", r"3-\sqrt2, 3+\sqrt2"), ("x=1,y=2", "(1,2)"), ("x=1; y=2", "y=2, x=1"), ("1,2", "x=1, y=2"),
    (r"\begin{cases}x=1\\y=2\end{cases}", "x=1,y=2"), (r"\langle 1,2\rangle", "(1,2)"), ("A(1,2)", "(1,2)"),
    ("x=2 or x=-3", "-3, 2"), (r"(1,2) \text{ and } (3,4)", "(3,4),(1,2)"), (r"\boxed{3} or \boxed{4}", "3, 4"),
    # Matrices.
    (r"\begin{bmatrix}1/2\\0.25\end{bmatrix}", r"\begin{pmatrix}\frac12\\\frac14\end{pmatrix}"),
    (r"\left(\begin{array}{cc}1&2\\3&4\end{array}\right)", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}\begin{pmatrix}0&1\\1&0\end{pmatrix}",
     r"\begin{pmatrix}2&1\\4&3\end{pmatrix}"),
    (r"2\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\4\end{pmatrix}"),
    (r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", "-2"), (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1,2)"),
    # Equations and relations.
    ("3", "x=3"), ("y=2x+3", "2x+3"), ("2y=4x+6", "y=2x+3"), ("f(x)=x^2", "x^2"), (r"\angle ABC=30^\circ", "30"),
    (r"\sum_{i=1}^{3} i=6", "6"), (r"\int_0^1 2x\,dx=1", "1"), (r"\log_2 8 = 3", "3"), (r"\frac{dy}{dx}=2x", "2x"),
    ("a<b<c", "c>b>a"), ("-x<-5", "x>5"), ("(x-1)^2+(y-2)^2=9", "x^2-2x+y^2-4y-4=0"), (r"x \not= 2", r"x\neq2"),
    # Percent, money, units, ratios, times.
    ("10%", "0.1"), (r"33\frac13\%", "1/3"), (r"\$1,000", "1000"), ("€10", "10"), ("50 cents", r"\$0.50"),
    ("1 m", "100 cm"), ("60 mph", "60 miles per hour"), (r"12\text{ square units}", "12"), ("25°C", "25"),
    (r"9.8 \text{ m/s}^2", "9.8"), (r"25\pi \text{ cm}^2", r"25\pi"), ("10元", "10"), ("5 million", "5000000"),
    ("2:4", "1:2"), ("1:2:3", "2:4:6"), (r"1 \text{ to } 2", "1:2"), ("10:45 a.m.", r"10:45 \text{ AM}"),
    # Numbers.
    (r"2\frac{3}{4}", "11/4"), ("1½", "1.5"), (r"0.1\overline{6}", "1/6"), ("0.333...", "1/3"),
    ("1.5 x 10^3", "1500"), (r"6.02\times 10^{23}", "6.02e23"), ("three", "3"), ("3rd", "3"),
    (r"1{,}234", "1234"), (r"204_{\text{five}}", "204_5"), ("204₅", "204_{5}"), ("2^{100}", str(2**100)),
    # Spelling.
    (r"\nicefrac{1}{2}", "0.5"), (r"{1 \over 2}", "0.5"), (r"\frac 1 2", "0.5"), (r"\bigl(1,2\bigr)", "(1,2)"),
    (r"\textcolor{red}{5}", "5"), ("√(3)", r"\sqrt3"), ("∛8", "2"), ("2^(1/2)", r"\sqrt2"), (r"\sqrt[3]2", "2^{1/3}"),
    ("Monday", r"\text{monday}"), (r"\textbf{(A)}", "A"), ("infinity", r"\infty"), (r"\mathbb R", r"\mathbb{R}"),
    # Values.
    (r"\sin^2 x+\cos^2 x", "1"), ("e^{i\\pi}", "-1"), ("|3+4i|", "5"), (r"\frac{1}{1+i}", r"\frac{1-i}{2}"),
    (r"\ln(ab)", r"\ln a+\ln b"), (r"\binom{n}{2}", r"\frac{n(n-1)}{2}"), (r"\sum_{k=1}^{n}k", r"\frac{n(n+1)}{2}"),
    (r"\prod_{k=1}^4 k", "24"), (r"\lim_{x\to 0}\frac{\sin x}{x}", "1"), (r"\frac{d}{dx}x^2", "2x"),
    # Ratios, identities, roundings, angles with a number.
    (r"\frac{BD}{DC}=\frac{2}{3}", r"\frac23"), (r"\frac23", r"\frac{BD}{DC}=\frac{2}{3}"), ("BD:DC=2:3", "2/3"),
    (r"e^{i\pi} = -1", "-1"), ("-1", r"e^{i\pi}=-1"), (r"\angle 1 = 60^\circ", "60"), ("∠1+∠2=180°", "180"),
    (r"4\sqrt{3} \approx 6.93", r"4\sqrt3"), (r"4\sqrt{3} \approx 6.93", "6.93"), ("f(x)=2x+1", "y=2x+1"),
    # Unicode, functions and Greek letters without a backslash, stored texts with two.
    ("2θ", r"2\theta"), ("sin(30°)", "0.5"), ("ln x + ln 2", r"\ln(2x)"), ("10⁻¹²", "10^{-12}"), ("⌊5/2⌋", "2"),
    ("pi", r"\pi"), ("φ", r"\varphi"), ("ℝ \\ {0}", r"(-\infty,0)\cup(0,\infty)"), (r"\sqrt3", r"\\sqrt{3}"),
    ("2^{1/4}", "2**(1/4)"), ("e^(2x)", "exp(2x)"), ("{x | -2 < x ≤ 3}", "(-2,3]"), ("①②", "①②"),
    # Thousands, malformed notation.
    (r"32,\! 349", "32349"), (r"6{:}00", "6:00"), (r"\frac{1}{2", r"\frac12"), (r"{5", "5"), (r"\large 5", "5"),
    (r"\mathrm{5\,cm}", "5"), (r"3x = 45 \Rightarrow x = 15", "15"),
    ("[[1,0],[0,1]]", r"\begin{bmatrix}1&0\\0&1\end{bmatrix}"),
    ("25 million", "25000000"), ("two thirds", "2/3"), (r"3\sqrt{2}cm", r"3\sqrt2"), ("USD 20", "20"),
    (r"\cos 60^\circ", "0.5"), (r"\frac{2025!}{2024!}", "2025"), (r"\int x a\,dx", r"\int a x\,dx"),
]  # fmt: skip

UNEQUAL = [
    ("(0,1]", "[0,1]"), ("(1,2)", r"(-\infty,2)"), ("x>2", r"[2,\infty)"), ("(1,2)", r"\{1,2\}"), ("(1,2]", "1, 2"),
    ("y>5", "x>5"), (r"(0,1)", r"\mathbb{R}"), (r"\{0\}", r"\emptyset"), ("0", r"\emptyset"), ("2", r"\pm 2"),
    (r"\pm2", "2"), ("(2,1)", "x=1,y=2"), ("x=2,y=1", "x=1,y=2"), (r"\{1,2\}", "x=1,y=2"),
    ("(1,2)", "(1,2),(3,4)"), (r"\{1,2\}", r"\{1,2,3\}"),
    (r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}\begin{pmatrix}0&1\\1&0\end{pmatrix}",
     r"\begin{pmatrix}3&4\\1&2\end{pmatrix}"), ("2x=6", "3"), ("x=3", "y=3"), ("x+y=3", "3"), ("y=2x+3", "y=2x+4"),
    ("f(x)=x^2", "g(x)=x^2"), ("0=5", "1=2"), ("a<b<c", "a<c<b"), ("x>5", "5"), (r"x\ne 3", "x=3"),
    ("5%", "0.5"), ("20%", r"20\text{ dollars}"), ("10 cents", "$10"), ("5 m", "5 km"), ("5 m/s", "5 km/h"),
    (r"10\text{ cm}^2", r"10\text{ cm}^3"), ("5 apples", "5 pears"), ("10a", "10"), ("5 million", "5"),
    (r"25\pi\text{ cm}", r"25\pi\text{ m}"), ("1:2", "2:1"), ("9:30", "9:35"), ("10:45 am", "10:45 pm"),
    ("11/2", "1 1/2"), ("(1,234)", "1234"), ("{1,234}", "1234"), ("1,2345", "12345"), ("12,34", "1234"), ("x", "X"),
    ("0 0 0 0 5", "5"), (r"0.\overline{3}", "0.3"), ("3.14", r"\pi"), ("1.41", r"\sqrt2"), ("204", "204_5"),
    ("odd or even", "odd"), ("not odd", "odd"), (r"\sqrt{x^2}", "x"), (r"\sum_{k=1}^{n}k^2", r"\sum_{k=1}^{n}k"),
    (r"\int x\,dx", r"\int x^2\,dx"), ("2^{100}", str(2**100 + 1)), ("100!", "101!"), ("1/2004!", "0"), ("x", "y"),
    (r"\frac{BD}{DC}=\frac{2}{3}", r"\frac32"), (r"\frac{DC}{BD}=\frac{2}{3}", r"\frac{BD}{DC}=\frac{2}{3}"),
    (r"\angle 1 = 60", r"\angle 2 = 60"), (r"\theta = 5", r"\alpha = 5"), (r"99 \approx 100", "100"), ("3+5=9", "8"),
    (r"6 \approx 5", "5"), ("2θ", r"2\alpha"), ("θ", r"\phi"), ("10¹²", "102"), (r"\frac{x}{2}=4", "4"), ("a+b=6", "6"),
    ("25 million", "25"), ("one third", "1"), ("five and a half", "5"), ("32, 349", "32349"), (r"\sqrt3", "3"),
    ("-x^2", "(-x)^2"), ("3+4i", "3-4i"), (r"\lim_{x\to 0}x", "1"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "true"), EQUAL)
def test_equal(said: str, true: str) -> None:
    assert score(said if "boxed" in said else f"\\boxed{{{said}}}", true) == 1.0
    assert score(f"\\boxed{{{true}}}", said) == 1.0


@pytest.mark.parametrize(("said", "true"), UNEQUAL)
def test_unequal(said: str, true: str) -> None:
    assert score(f"\\boxed{{{said}}}", true) == 0.0
    assert score(f"\\boxed{{{true}}}", said) in (0.0, None)  # "not odd" is no target


def test_roundings_are_answers_only_within_the_tolerance_and_number_words_are_numbers() -> None:
    assert (score("0.333333", "1/3"), score("0.3333", "1/3")) == (1.0, 0.0)
    assert (score("twenty-one", "21"), score("21", "twenty-one")) == (1.0, 1.0)


@pytest.mark.parametrize(("response", "true"), [
    ("#### 5", "5"), ("x is 3.\n#### 1,234", "1234"), ("**Final Answer**: 5", "5"), ("**Final Answer**\n5", "5"),
    ("The answer is: \n\n$$5$$", "5"),
    ("答案为 5。", "5"), ("故答案为：12。", "12"), ("The answer is 5, since 2+3=5.", "5"),
    ("The answer is 5 (not 6)", "5"), ("I think the answer is probably 5", "5"), ("So the probability is 1/3.", "1/3"),
    ("The area is 3π.", r"3\pi"), ("The roots are 2 and 3.", "2, 3"),
    (r"\boxed{\text{The answer is } 5}", "5"),
    ("the solutions are $x=2$ and $x=3$", "2,3"), (r"\boxed{5}, not \boxed{6}", "5"), ('{"answer": 5}', "5"),
    (r"\boxed{\text{The minimum is } 5}", "5"), ("Therefore, Janet makes $18 every day.", "18"),
    (r"$\boxed{5}$ cm", "5"),
    ("The answer is **73**.", "73"), ("The area is **24**", "24"), ("Result: **5**", "5"), ("**5 cm**", "5"),
    ("**1/2**", "1/2"), ("\\boxed{42}\n\n\\boxed{42}", "42"), ("there are twelve sequences", "12"),
    ("there are 12 sequences that meet the three conditions.", "12"), ("So x = 3/5.\n\n**Final Answer**\n3/5", "3/5"),
    ("The area equals 9π - 18.", r"9\pi-18"), ("The length is 25 cm.", "0.25 m"),
    ("The line is **2x + 3y = 7**.", "2x+3y=7"),
    ("The domain is [-2, 3].", "[-2,3]"), ("x + 2x + 45 = 90\n3x = 45\nx = 15", "15"),
    ("AB = √52 = 2√13 ≈ 7.21", "7.21"),
    ("Answer: 5. Hmm, actually it is 7.", "7"), ("La respuesta es 15.", "15"), ("x: 15", "15"),
    (r"\boxed{\text{right triangle}}", r"\text{right triangle}"), ("The day is **Monday**.", r"\text{Monday}"),
    ("### 14", "14"), (r"The angle is $m\angle B = 30^\circ$.", "30"), ("It is 60, not 30.", "60"),
])  # fmt: skip
def test_the_answer_is_found(response: str, true: str) -> None:
    assert score(response, true) == 1.0


@pytest.mark.parametrize("response", [
    "The answer is not 6", "It is 5, not 6", "5 or 6", "between 5 and 6", "a number between 0 and 6", "at least 6",
    "n is at most 6", "more than 6", "up to 6", "any of 4, 5, 6", "The roots are 5 and 6.", "5 if x>0 else 6",
    "5 (if x is even), 6 (if x is odd)", r"\boxed{5} or \boxed{6}", r"\boxed{5} or 6", r"either \boxed{6} or 5",
    r"\boxed{5}, not \boxed{6}", r"\boxed{5,6}", r"\boxed{5 \lor 6}", r"\boxed{\text{either 5 or 6}}", "5/6", "5; 6",
    r"5\quad 6", r"6\pm1", "answer is 5 though it may be 6", "The answer is none of 6", "5 6", "x=5, x=6", "<think>6",
    "the solutions are $x=5$ and $x=6$", "6x", "It equals 6x.", "6 cm or 6 m", "[number]", r"\boxed{}", "x=x",
    "The area equals 6π + 6x - 6.", "The line is y = 2x + 6.", "The domain is [-2, 6].", "There are 6 million.",
    "The length is 6√3.", "It might be 6.", "Answer: 6. Hmm, actually it is 7.", "It is the square root of 6.",
    "negative 6", "x plus 6", "Is it 6?", "as figure 6 shows, it is 7", "The ratio is 3 to 6.", "The ratio is 6 to 3.",
    r"\boxed{5 \approx 6}", "It is 7, not 6.", "The roots are 2 and 6.", "five or six ways", "6 squared",
    "six and a half",
])  # fmt: skip
def test_hedges_denials_and_hacks_earn_nothing(response: str) -> None:
    assert score(response, "6") == 0.0


def test_conventions_are_params() -> None:
    assert [score("5%", true) for true in ("0.05", "5")] == [1.0, 1.0]
    assert [score("5%", true, percent="share") for true in ("0.05", "5")] == [1.0, 0.0]
    assert [score("5%", true, percent="number") for true in ("0.05", "5")] == [0.0, 1.0]
    assert [score("2, 1", "1, 2", ordered=ordered) for ordered in (False, True)] == [1.0, 0.0]
    assert [score("101", 100.0, tolerance=tolerance) for tolerance in (0.01, 0.001)] == [1.0, 0.0]
    assert score("5", "5", percent="half") is None


STALLS = [
    r"\gcd(9^{9^9},3)", r"\max(" + ",".join(f"x_{i}" for i in range(9)) + ")", r"\lim_{n\to\infty}\sin(2^{n})",
    r"\lim_{n\to\infty}\frac{n!}{n^n}", r"\sum_{k=1}^{200}\sum_{j=1}^{200}\sum_{i=1}^{200} ijk",
    r"\prod_{k=1}^{199} (k!)",
    r"\sum_{k=10^{50}}^{10^{50}+5} 9^{k}", r"\begin{vmatrix}" + r"\\".join(["a&b&c&d&e&f"] * 6) + r"\end{vmatrix}",
    r"\begin{pmatrix}1&2\\3&4\end{pmatrix}^{9999999}", r"\frac{d^{50}}{dx^{50}} x^{99}\sin x",
    "|" * 40 + "x" + "|" * 40,
    r"\sqrt{10^{99999}+1}", "9999999!", r"(-\infty,1)\cup" * 30 + "(2,3)", "9" * 1999, "\n####" * 9999, "1 and " * 9999,
]  # fmt: skip


@pytest.mark.parametrize("hostile", STALLS)
def test_what_the_parser_would_evaluate_at_length_is_refused(hostile: str) -> None:
    for true in ("3", "x^2+1", r"\sum_{k=1}^{n} k^2", r"(-\infty, 2) \cup (3, \infty)"):
        assert score(hostile, true) == 0.0
        assert score(f"\\boxed{{{hostile}}}", true) == 0.0


def test_equality_is_symmetric_over_many_kinds() -> None:
    texts = sorted({clean(text) for pair in EQUAL[::3] + UNEQUAL[::4] for text in pair if "boxed" not in text})
    assert len(texts) > 80
    for a in texts:
        for b in texts[::3]:
            assert equal(a, b) == equal(b, a), (a, b)


@pytest.mark.parametrize(("said", "true"), [
    (r"\boxed{10} then \boxed{42}", "42"), ("−5", "-5"), ("½", "1/2"), ("１２", "12"), (r"1\,234", "1234"),
    (r"\$10", "10"), ("+7", "7"), (r"74^\circ", "74"), ("74°", "74"), ("1 1/2", "1.5"), (r"1\frac12", "3/2"),
    ("10 cm", "10"), (r"10\text{ cm}", "10"), ("33.5%", "0.335"), ("10%", "10"), (r"\frac{2}{4}", "0.5"),
    ("x = 3", "3"), ("3", "x = 3"), ("3", 3), ("3.0", 3), ("0.5", 0.5), ("The answer is 12.", "12"),
    (r"\{3, 1, 2\}", r"\{1, 2, 3\}"), ("[0, 1)", "[0,1)"), ("(1, 2)", "(1,2)"), ("x > 5", "5 < x"),
    (r"2\sin b\cos a", r"2\cos a \sin b"), (r"\frac{x+2}{7}", r"\frac{x}{7}+\frac{2}{7}"),
    ("1e3", "1000"),
    ("5 apples", "5"), ("So x = 3.\nThe answer is: 5.", "5"), ("2 + 3 = 5", "5"),
    (r"\begin{bmatrix}1 & 2\\3 & 4\end{bmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"), ("odd", r"\text{odd}"),
    (r"96-10\sqrt{21}", r"\frac{6\sqrt{1789-240\sqrt{21}}+8\sqrt{1236-240\sqrt{21}}}{5}"),
    (r"2024^{4046}", r"2024^{4046}"), (r"\boxed{1} and \boxed{2}", "1, 2"), ("5", ["4", "5"]),
])  # fmt: skip
def test_equal_in_math(said: str, true: Any) -> None:
    assert score(said, true) == 1.0


@pytest.mark.parametrize(("said", "true"), [
    ("3 or 4", "3"), ("3 or 4", "4"), ("(1,2)", "(2,1)"), ("[0,1)", "(0,1)"), ("5 cm", r"5\text{ m}"),
    ("x < 5", "x > 5"),
    ("100000000000000000000", "100000000001000000000"), ("5.001", "5"), ("1:00", "12:00"), ("12", r"\{1, 2\}"),
    (r"\sqrt{67}, -\sqrt{85}", r"\sqrt{67}"), ("x = 1", "y = 2"), ("A", "a"), ("204_7", "204_5"), ("", "5"),
    ("x", "|x|"), ("x^2 = 4", "4"),
    ("it is 3 or 4", "4"), (r"\boxed{\frac{1}{0}}", "0"), ("open('x','w') or 0", "0"),
    ("__import__('os').getcwd() or 5", "5"),
])  # fmt: skip
def test_unequal_in_math(said: str, true: Any) -> None:
    assert score(said, true) == 0.0


TOWERS = [
    "9^{9^{9^9}}", "9^9^9^9", "((9!)!)!", r"\binom{10^9}{10^8}", r"\binom{1000000000}{500000000}", "10^{10^{10}}x",
    r"\sqrt{" * 30 + "2" + "}" * 30, "(" * 300 + "x" + ")" * 300, "x^" * 100 + "2", "x^{" * 8 + "x" + "}" * 8,
    r"\int_0^1 e^{x^2} dx", r"\sum_{k=1}^{10^9} k", "9" * 5000, "9" * 5000 + "x", "x" * 400, "1+" * 200 + "x",
    r"\frac{" * 9 + "x" + "}{y}" * 9, ",".join(rf"\sin(x+{i})" for i in range(20)), "e^{e^{e^{e^9}}}", "!" * 99 + "x",
    r"\Gamma(10^{9})", "(" * 6 + "9^9" + ")^9" * 6, "0.1^{0.1^{-99}}", r"\tan(\tan(\tan(10^{99})))",
]  # fmt: skip


@pytest.mark.parametrize("true", ["3", "x^2+1", ",".join(rf"\cos(x+{i})" for i in range(20))])
def test_towers_are_refused_before_they_are_evaluated(true: str) -> None:
    for tower in TOWERS:
        assert score(f"\\boxed{{{tower}}}", true) == 0.0
        assert score(tower, true) == 0.0


def test_numbers_never_load_sympy() -> None:
    code = (
        "import sys; from vlmrl import catalog; v = catalog.load('verifiers', 'math').verify;"
        "assert v('7', 7).score == 1.0; assert v('x', 7).score == 0.0; assert v('\\\\boxed{1/2}', '0.5').score == 1.0;"
        "assert 'sympy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("said", "true"), [
    ("negative five", -5), ("The answer is negative five.", -5), ("The value is negative 5.", -5),
    ("x = 9 from equation (7)", 9), ("Hence x = 9 from (7).", 9), ("By Theorem 4, the value is 9.", 9),
    ("so BC = 2√5 ≈ 4.47", r"2\sqrt{5}"), ("BC² = 4 + 16 = 20, so BC = 2√5 ≈ 4.47.", r"2\sqrt{5}"),
    ("π * 4", r"4\pi"), ("The area is π * 4", r"4\pi"),
])  # fmt: skip
def test_values_in_short_sentences(said: str, true: Any) -> None:
    assert score(said, true) == 1.0


@pytest.mark.parametrize(("said", "true"), [
    ("π * 4", 4), ("The area is π * 4", 4), ("x * 4", 4), ("negative five", 5), ("Ten minus five is", -5),
    ("5 is impossible.", 5), ("5 cannot be right.", 5), ("The claim that the answer is 5 is false.", 5), ("5 不对", 5),
])  # fmt: skip
def test_factors_and_rejected_values_are_no_answer(said: str, true: Any) -> None:
    assert score(said, true) == 0.0


@pytest.mark.parametrize("said", [r"\left(1, 2\right", r"\boxed{\left(1, 2\right", r"$\left(1, 2\right", "(1, 2"])
@pytest.mark.parametrize("true", ["(1, 2)", "(1, 2]"])
def test_a_bracket_that_is_cut_off_leaves_open_whether_the_end_belongs(said: str, true: str) -> None:
    assert score(said, true) == 0.0


@pytest.mark.parametrize(("said", "true"), [
    (r"2\sqrt{5} m", r"2\sqrt{5}"), (r"The length is $2\sqrt{5}$ m.", r"2\sqrt{5}"), ("2√5 m/s", r"2\sqrt{5}"),
    ("9π cm²", r"9\pi"), (r"\boxed{2\sqrt{5}\text{ m}}", r"2\sqrt{5}"), ("x = 9, using (1) and (2)", "9"),
    ("**9**, by (1)", "9"),
])  # fmt: skip
def test_units_and_citations_after_the_answer(said: str, true: str) -> None:
    assert score(said, true) == 1.0
