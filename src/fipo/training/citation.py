"""The paper of the method, as TRL's model cards cite it."""

from __future__ import annotations

# Shown in the model card that TRL writes beside every checkpoint.
PAPER = {
    "title": "FIPO: Eliciting Deep Reasoning with Future-KL Influenced Policy Optimization",
    "id": "2603.19835",
    "citation": """\
@article{ma2026fipo,
    title   = {{FIPO: Eliciting Deep Reasoning with Future-KL Influenced Policy Optimization}},
    author  = {Chiyu Ma and Shuo Yang and Kexin Huang and Jinda Lu and Haoming Meng and Shangshang Wang and Bolin Ding
               and Soroush Vosoughi and Guoyin Wang and Jingren Zhou},
    year    = 2026,
    eprint  = {arXiv:2603.19835},
}""",
}
