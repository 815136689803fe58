"""JSON Schema of the HTTP interface, for ``/openapi.json`` and ``/docs``.

This only describes the rules of :mod:`drone_orchestrator.core.admission`, which checks the requests.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from ..core import admission
from ..core.types import Phase, Priority, SagaStatus
from ..planning.waiting import WaitingCode
from ..telemetry.findings import KINDS as FINDING_KINDS
from .problems import CONTENT_TYPE

Schema = dict[str, Any]

_ORDER_ID = "7b1f1c0e-3f0a-4f57-9d59-6c1a52a3a0a1"
_STATUS: Schema = {"type": "string", "enum": [status.value for status in SagaStatus]}
_TIME: Schema = {"type": "number", "description": "Seconds since 1970, UTC."}
_POINT: Schema = {
    "type": "object",
    "required": ["lat", "lon"],
    "additionalProperties": False,
    "properties": {
        "lat": {"type": "number", "minimum": -90, "maximum": 90, "description": "WGS 84, degrees north."},
        "lon": {"type": "number", "minimum": -180, "maximum": 180, "description": "WGS 84, degrees east."},
    },
}

ORDER_REQUEST: Schema = {
    "type": "object",
    "required": ["order_id", "destination", "package_weight_kg"],
    "additionalProperties": False,
    "properties": {
        "order_id": {
            "type": "string",
            "pattern": f"^{admission.ORDER_ID_PATTERN}$",
            "maxLength": admission.MAX_ORDER_ID_LENGTH,
            "description": "The customer's own id of the order, unique in the region.",
        },
        "destination": {**_POINT, "description": "Where to drop the package."},
        "package_weight_kg": {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": admission.MAX_WEIGHT_KG,
            "description": "With wrapping, in kilograms; single precision.",
        },
        "pickup": {**_POINT, "description": "Where to pick up the package; the depot if omitted."},
        "priority": {"type": "string", "enum": [priority.name.lower() for priority in Priority], "default": "normal"},
        "deadline_s": {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": admission.MAX_DEADLINE_S,
            "description": "Seconds from acceptance to delivery; single precision.",
        },
        "drone_class": {
            "type": "string",
            "pattern": f"^{admission.CLASS_NAME_PATTERN}$",
            "maxLength": admission.MAX_CLASS_LENGTH,
            "description": "The drone class that must carry it; any if omitted.",
        },
        "message_id": {
            "type": "string",
            "format": "uuid",
            "description": "Chosen by the client, so that the request can be repeated safely.",
        },
    },
    "example": {
        "order_id": "order-1001",
        "destination": {"lat": 37.78, "lon": -122.41},
        "package_weight_kg": 1.2,
    },
}

ACCEPTED: Schema = {
    "type": "object",
    "properties": {
        "message_id": {"type": "string", "format": "uuid"},
        "order_id": {"type": "string"},
        "status": {**_STATUS, "description": "The initial status; GET shows the current one."},
    },
    "example": {"message_id": _ORDER_ID, "order_id": "order-1001", "status": "PENDING"},
}

ORDER: Schema = {
    "type": "object",
    "properties": {
        "message_id": {"type": "string", "format": "uuid"},
        "order_id": {"type": "string"},
        "status": _STATUS,
        "parked": {
            "type": "boolean",
            "description": "Compensation failed; an operator must decide.",
        },
        "attempt": {"type": "integer", "description": "Number of drone assignments so far."},
        "drone_id": {"type": ["string", "null"]},
        "reason": {"type": ["string", "null"], "description": "Reason of the current status."},
        "order": {"type": "object", "description": "The order as submitted."},
        "created_at": _TIME,
        "updated_at": _TIME,
        "cancel_requested": {"type": "boolean"},
    },
    "example": {
        "message_id": _ORDER_ID,
        "order_id": "order-1001",
        "status": "ASSIGNED",
        "parked": False,
        "attempt": 1,
        "drone_id": "drone_3",
        "reason": None,
        "order": {
            "message_id": _ORDER_ID,
            "order_id": "order-1001",
            "destination": {"lat": 37.78, "lon": -122.41},
            "package_weight_kg": 1.2,
        },
        "created_at": 1767225600.0,
        "updated_at": 1767225600.25,
        "cancel_requested": False,
    },
}

SHOWN_ORDER: Schema = {
    **ORDER,
    "properties": {
        **ORDER["properties"],
        "waiting": {
            "type": ["object", "null"],
            "description": "Why it has no drone yet, the reasons of the whole fleet first; null if it waits for none.",
            "properties": {
                "since": _TIME,
                "reasons": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "code": {"type": "string", "enum": [code.value for code in WaitingCode]},
                            "drone_id": {"type": ["string", "null"]},
                            "detail": {"type": "string"},
                        },
                    },
                },
            },
        },
    },
    "example": {**ORDER["example"], "waiting": None},
}

CANCELLATION: Schema = {
    "type": "object",
    "properties": {
        "message_id": {"type": "string", "format": "uuid"},
        "order_id": {"type": "string"},
        "status": {**_STATUS, "description": "Status when the cancellation was requested; GET shows the current one."},
        "cancel_requested": {"type": "boolean"},
    },
    "example": {
        "message_id": _ORDER_ID,
        "order_id": "order-1001",
        "status": "ASSIGNED",
        "cancel_requested": True,
    },
}

_FRESHNESS: Schema = {
    "revision": {"type": "integer", "description": "Revision of the store that this answer shows."},
    "stale_s": {
        "type": ["number", "null"],
        "description": "Age of this answer in seconds. 0: up to date. null: the store was never reached.",
    },
}

ORDER_LIST: Schema = {
    "type": "object",
    "properties": {
        "orders": {"type": "array", "items": ORDER},
        "next_cursor": {
            "type": ["string", "null"],
            "description": "The cursor of the next page; null on the last.",
        },
        **_FRESHNESS,
    },
    "example": {"orders": [ORDER["example"]], "next_cursor": None, "revision": 48, "stale_s": 0.0},
}

EVENT: Schema = {
    "type": "object",
    "properties": {
        "message_id": {"type": "string", "format": "uuid"},
        "order_id": {"type": ["string", "null"]},
        "sequence": {"type": "integer", "minimum": 1, "description": "Number of the event within its order."},
        "type": {"type": "string"},
        "from_status": {**_STATUS, "type": ["string", "null"], "enum": [*_STATUS["enum"], None]},
        "to_status": _STATUS,
        "attempt": {"type": "integer"},
        "drone_id": {"type": ["string", "null"]},
        "epoch": {"type": "integer", "description": "Epoch of the leader that decided it."},
        "reason": {"type": ["string", "null"]},
        "at": _TIME,
        "revision": {
            "type": ["integer", "null"],
            "description": "Revision of the store; null if unknown.",
        },
    },
}

EVENT_LIST: Schema = {
    "type": "object",
    "required": ["events"],
    "properties": {"events": {"type": "array", "items": EVENT}},
    "example": {
        "events": [
            {
                "message_id": _ORDER_ID,
                "order_id": "order-1001",
                "sequence": 1,
                "type": "accepted",
                "from_status": None,
                "to_status": "PENDING",
                "attempt": 0,
                "drone_id": None,
                "epoch": 4,
                "reason": None,
                "at": 1767225600.0,
                "revision": None,
            }
        ]
    },
}

FLEET: Schema = {
    "type": "object",
    "properties": {
        "region": {"type": "string"},
        "depot": _POINT,
        "service_radius_m": {"type": "number"},
        "no_fly_zones": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "polygon": {"type": "array", "items": _POINT}},
            },
        },
        "leader": {
            "type": ["object", "null"],
            "properties": {
                "holder": {"type": "string"},
                "instance_id": {"type": "string"},
                "epoch": {"type": "integer"},
                "since": _TIME,
            },
        },
        "drones": {
            "type": "array",
            "description": "Drones that were heard recently, are reserved, or have a breaker.",
            "items": {
                "type": "object",
                "properties": {
                    "drone_id": {"type": "string"},
                    "drone_class": {"type": ["string", "null"]},
                    "phase": {"type": "string", "enum": [phase.name for phase in Phase]},
                    "grounded_reason": {
                        "type": ["string", "null"],
                        "description": "Why it is GROUNDED; `out_of_service` if a person took it out.",
                    },
                    "position": {
                        "type": ["object", "null"],
                        "properties": {
                            "lat": {"type": "number"},
                            "lon": {"type": "number"},
                            "altitude_m": {
                                "type": ["number", "null"],
                                "description": "Metres above the depot's ground.",
                            },
                        },
                    },
                    "heading_rad": {
                        "type": ["number", "null"],
                        "description": "Course over the ground, radians from east, counter-clockwise.",
                    },
                    "energy_fraction": {"type": ["number", "null"], "description": "Share of a full battery, 0 to 1."},
                    "package_on_board": {"type": "boolean"},
                    "message_id": {"type": ["string", "null"], "description": "Message id of its order."},
                    "order_id": {"type": ["string", "null"]},
                    "destination": {**_POINT, "type": ["object", "null"]},
                    "breaker": {"type": "string", "enum": ["closed", "half-open", "open"]},
                    "heard_s": {
                        "type": ["number", "null"],
                        "description": "Age of its last report (s).",
                    },
                    "attempt": {
                        "type": ["integer", "null"],
                        "description": "Of its reservation, like the next two.",
                    },
                    "epoch": {"type": ["integer", "null"]},
                    "leased": {"type": ["boolean", "null"], "description": "False once the package may be on board."},
                },
            },
        },
        "lanes": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "drone_class": {"type": "string"},
                    "waiting": {"type": "integer"},
                    "in_flight": {"type": "integer"},
                    "bound": {"type": "integer", "description": "Limit on waiting orders."},
                    "level": {"type": "string", "enum": ["CLEAR", "SLOW_DOWN", "FULL"]},
                },
            },
        },
        "breakers": {
            "type": "array",
            "description": "This gateway's breaker for the store, and those of drones that failed recently.",
            "items": {
                "type": "object",
                "properties": {
                    "service": {"type": "string"},
                    "state": {"type": "string", "enum": ["closed", "half-open", "open"]},
                },
            },
        },
        "orders": {"type": "object", "description": "Number of orders by status."},
        "alerts": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "code": {
                        "type": "string",
                        "enum": [
                            "no_leader",
                            "store_unreachable",
                            "order_parked",
                            "order_failed",
                            "breaker_open",
                            "lane_full",
                            "class_unmanned",
                            "drone_silent",
                            *(kind.name for kind in FINDING_KINDS),
                        ],
                    },
                    "severity": {"type": "string", "enum": ["critical", "warning"]},
                    "summary": {"type": "string"},
                    "since": _TIME,
                    "subject": {
                        "type": "string",
                        "description": "A drone, a lane, a message id, a region, etcd, a topic or a process.",
                    },
                },
            },
        },
        **_FRESHNESS,
    },
    "example": {
        "region": "san_francisco",
        "depot": {"lat": 37.7577, "lon": -122.3876},
        "service_radius_m": 8000.0,
        "no_fly_zones": [],
        "leader": {"holder": "orchestrator_a", "instance_id": "1f0c", "epoch": 4, "since": 1767225000.0},
        "drones": [
            {
                "drone_id": "drone_3",
                "drone_class": "courier",
                "phase": "TO_DESTINATION",
                "grounded_reason": None,
                "position": {"lat": 37.77, "lon": -122.4, "altitude_m": 60.0},
                "heading_rad": 2.4,
                "energy_fraction": 0.82,
                "package_on_board": True,
                "message_id": _ORDER_ID,
                "order_id": "order-1001",
                "destination": {"lat": 37.78, "lon": -122.41},
                "breaker": "closed",
                "heard_s": 0.31,
                "attempt": 1,
                "epoch": 4,
                "leased": False,
            }
        ],
        "lanes": [{"drone_class": "courier", "waiting": 3, "in_flight": 1, "bound": 1000, "level": "CLEAR"}],
        "breakers": [{"service": "etcd", "state": "closed"}],
        "orders": {"PENDING": 3, "IN_TRANSIT": 1, "DELIVERED": 17},
        "alerts": [],
        "revision": 48,
        "stale_s": 0.0,
    },
}

HANDOVER: Schema = {
    "type": "object",
    "required": ["holder", "epoch"],
    "properties": {"holder": {"type": "string"}, "epoch": {"type": "integer"}},
    "example": {"holder": "orchestrator_a", "epoch": 4},
}

STATE: Schema = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"type": "string"}},
    "example": {"status": "ready"},
}

EVENTS_EXAMPLE = """id: 48
event: saga
data: {"message_id":"7b1f1c0e-3f0a-4f57-9d59-6c1a52a3a0a1","order_id":"order-1001","sequence":2,"type":"assigned",\
"from_status":"PENDING","to_status":"ASSIGNED","attempt":1,"drone_id":"drone_3","epoch":4,"reason":null,\
"at":1767225600.25,"revision":48}

""".replace("\\\n", "")

METRICS_EXAMPLE = 'saga_status{agent_type="order_gateway",region="san_francisco",status="PENDING"} 3.0\n'

#: An example of each problem: code, detail, field.
_PROBLEMS: dict[int, tuple[str, str, str | None]] = {
    403: ("operator_only", "Only from the gateway's own machine, unless the gateway has an operator_token.", None),
    404: ("not_found", "there is no order order-1001", None),
    408: ("body_too_slow", "The body did not arrive in time.", None),
    409: ("order_id_taken", "order_id order-1001 belongs to an order with different content", "order_id"),
    413: ("body_too_large", "The body must have at most 65536 bytes.", None),
    415: ("not_json", "Send the order with Content-Type: application/json.", None),
    422: ("out_of_range", "must be between -90 and 90", "destination.lat"),
    429: ("rate_limited", "A client may send 500 requests per second, 1000 at once.", None),
    500: ("internal_error", "Internal error of the gateway; see its log.", None),
    503: ("store_unavailable", "The store cannot be reached.", None),
}

PROBLEM: Schema = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "For people."},
        "field": {"type": ["string", "null"], "description": "The wrong part of the request, e.g. destination.lat."},
        "code": {"type": "string", "description": "For programs."},
    },
}


def answer(description: str, schema: Schema) -> dict[str, Any]:
    """Return an OpenAPI response with a JSON body; its example is that of the schema."""
    body = {"schema": {key: value for key, value in schema.items() if key != "example"}}
    return {"description": description, "content": {"application/json": {**body, "example": schema["example"]}}}


def text(description: str, content_type: str, example: str) -> dict[str, Any]:
    """Return an OpenAPI response with a text body."""
    return {"description": description, "content": {content_type: {"schema": {"type": "string"}, "example": example}}}


def problem(description: str, status: int) -> dict[str, Any]:
    """Return an OpenAPI response with a problem document as body."""
    example = _example(status)
    return {"description": description, "content": {CONTENT_TYPE: {"schema": PROBLEM, "example": example}}}


def _example(status: int) -> dict[str, Any]:
    code, detail, field = _PROBLEMS[status]
    return {
        "type": f"urn:drone-orchestrator:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "field": field,
        "code": code,
    }
