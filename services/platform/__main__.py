from services.platform.lifecycle import commands

commands()
