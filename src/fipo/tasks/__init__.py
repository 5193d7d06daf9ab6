"""Problems, prompts and graders: what a model is asked, and whether its answer is right."""

from fipo.tasks.grading import Grade, grade
from fipo.tasks.problems import load_problems
from fipo.tasks.prompts import PROMPT_STYLES
from fipo.tasks.rewards import math_reward

__all__ = ["PROMPT_STYLES", "Grade", "grade", "load_problems", "math_reward"]
