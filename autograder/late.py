"""A penalty for late work that grows by the day. In ``nbgrader_config.py``:

c.AssignLatePenalties.plugin_class = "autograder.late.PerDay"
c.PerDay.percent = 10
"""

import math

from nbgrader.plugins import BasePlugin
from traitlets import Float

DAY = 86_400


class PerDay(BasePlugin):
    """Takes a share of the points for each day that has begun; nbgrader's own plugin takes none or all of them."""

    percent = Float(10.0, min=0.0, max=100.0, help="Percent of the points that each late day costs.").tag(config=True)
    grace_minutes = Float(15.0, min=0.0, help="Lateness that costs nothing.").tag(config=True)
    most = Float(100.0, min=0.0, max=100.0, help="Percent that lateness costs at most.").tag(config=True)

    def late_submission_penalty(self, student_id: str, score: float, total_seconds_late: float) -> float | None:
        """Points to take off; nbgrader asks where a submission came after the due date."""
        late = total_seconds_late - 60 * self.grace_minutes
        if late <= 0:
            return None
        return score * min(self.percent * math.ceil(late / DAY), self.most) / 100
