"""What each expert that goes on learning learns from, and by which figures a new adapter of it is judged."""

from __future__ import annotations

from whylike.evaluation.courses.base import Course
from whylike.evaluation.courses.ratings import Ratings
from whylike.evaluation.courses.reasons import Reasons
from whylike.evaluation.courses.summaries import Summaries
from whylike.records import Expert

COURSES: dict[Expert, Course] = {course.expert: course for course in (Summaries(), Reasons(), Ratings())}
"""The experts that go on learning, in the order in which they do: each reads what those before it wrote."""
