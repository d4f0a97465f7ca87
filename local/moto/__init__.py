"""Repair moto: replaced attributes of its classes, and one function per fix."""
