"""The smallest trigger: it needs the base class only."""

from triggers.base import BaseTrigger


class MyTrigger(BaseTrigger):
    def execute(self, request):
        return {"greeted": request.data["name"], "project": self.settings.project_name}
