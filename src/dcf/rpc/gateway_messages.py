"""``pb.Gateway``: the messages and methods of the original DCF's gateway.

Clients that were compiled for the original must keep working, so the numbers must never change.
docs/gateway.proto has the same definitions for protobuf compilers.
"""

from __future__ import annotations

from typing import Any

from dcf.rpc.descriptors import Fields, build

SERVICE = "pb.Gateway"

FIELDS: dict[str, Fields] = {
    "InvokeServiceRequest": {"Service": (1, "string"), "Input": (2, "bytes")},
    "Message": {"Msg": (1, "string")},
    "Messages": {"Output": (1, "bytes")},
    "Empty": {},
    "FunctionResources": {"Memory": (1, "string"), "CPU": (2, "string"), "GPU": (3, "string")},
    "CreateFunctionRequest": {
        "Service": (1, "string"),
        "Image": (2, "string"),
        "EnvVars": (3, "map<string,string>"),
        "Labels": (4, "map<string,string>"),
        "Annotations": (5, "map<string,string>"),
        "Constraints": (6, "[string]"),
        "Secrets": (7, "[string]"),
        "RegistryAuth": (8, "string"),
        "Limits": (9, "FunctionResources"),
        "Requests": (10, "FunctionResources"),
        "MinReplicas": (11, "int32"),
        "MaxReplicas": (12, "int32"),
    },
    "DeleteFunctionRequest": {"FunctionName": (1, "string")},
    "FunctionRequest": {"FunctionName": (1, "string")},
    "ScaleServiceRequest": {"ServiceName": (1, "string"), "Replicas": (2, "uint64")},
    "Function": {
        "Name": (1, "string"),
        "Image": (2, "string"),
        "InvocationCount": (3, "uint64"),
        "Replicas": (4, "uint64"),
        "AvailableReplicas": (5, "uint64"),
        "Annotations": (6, "map<string,string>"),
        "Labels": (7, "map<string,string>"),
    },
    "Functions": {"Functions": (1, "[Function]")},
}

MESSAGES = build("dcf.rpc.gateway_messages", FIELDS)

METHODS = {
    "Invoke": ("InvokeServiceRequest", "Message"),
    "Invokes": ("stream InvokeServiceRequest", "stream Messages"),
    "List": ("Empty", "Functions"),
    "Deploy": ("CreateFunctionRequest", "Message"),
    "Update": ("CreateFunctionRequest", "Message"),
    "Delete": ("DeleteFunctionRequest", "Message"),
    "GetMeta": ("FunctionRequest", "Function"),
    "GetLog": ("FunctionRequest", "Message"),
    "ReplicaUpdate": ("ScaleServiceRequest", "Message"),
    "Info": ("Empty", "Message"),
    "HealthCheck": ("Empty", "Message"),
}
"""The types of each method's request and reply."""

CreateFunctionRequest: Any = MESSAGES["CreateFunctionRequest"]
Message: Any = MESSAGES["Message"]
Function: Any = MESSAGES["Function"]
Functions: Any = MESSAGES["Functions"]
