"""Problems, prompts and graders: what a model is asked, and whether its answer is right."""

from fipo.tasks.grading import Grade, grade, grade_many, same_answer
from fipo.tasks.problems import load_problems
from fipo.tasks.prompts import PROMPT_STYLES
from fipo.tasks.rewards import compute_score, math_reward
from fipo.tasks.voting import group_answers

__all__ = [
    "PROMPT_STYLES",
    "Grade",
    "compute_score",
    "grade",
    "grade_many",
    "group_answers",
    "load_problems",
    "math_reward",
    "same_answer",
]
