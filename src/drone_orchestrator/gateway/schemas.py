"""The HTTP interface in JSON Schema, for ``/openapi.json`` and ``/docs``.

It only describes: requests are checked by :mod:`drone_orchestrator.core.admission`, the one home of those rules.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from ..core import admission
from ..core.types import Phase, Priority, SagaStatus
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
            "description": "The shop's own id, unique in the region.",
        },
        "destination": {**_POINT, "description": "Where to drop the package."},
        "package_weight_kg": {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": admission.MAX_WEIGHT_KG,
            "description": "With wrapping, in kilograms; single precision.",
        },
        "pickup": {**_POINT, "description": "Where the package waits; the depot if left out."},
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
            "description": "The class that must carry it; any if left out.",
        },
        "message_id": {"type": "string", "format": "uuid", "description": "Made by the client, to repeat safely."},
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
        "status": {**_STATUS, "description": "The one an order begins with; GET tells the present one."},
    },
    "example": {"message_id": _ORDER_ID, "order_id": "order-1001", "status": "PENDING"},
}

ORDER: Schema = {
    "type": "object",
    "properties": {
        "message_id": {"type": "string", "format": "uuid"},
        "order_id": {"type": "string"},
        "status": _STATUS,
        "parked": {"type": "boolean", "description": "Undoing it has failed: it waits for a person's decision."},
        "attempt": {"type": "integer", "description": "How often a drone was assigned."},
        "drone_id": {"type": ["string", "null"]},
        "reason": {"type": ["string", "null"], "description": "Why it stands there."},
        "order": {"type": "object", "description": "What was ordered."},
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

CANCELLATION: Schema = {
    "type": "object",
    "properties": {
        "message_id": {"type": "string", "format": "uuid"},
        "order_id": {"type": "string"},
        "status": {**_STATUS, "description": "When the cancellation was asked for; GET tells the present one."},
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
    "revision": {"type": "integer", "description": "Revision of the store that this shows."},
    "stale_s": {
        "type": ["number", "null"],
        "description": "Seconds since the store was last followed; 0: now, null: never yet.",
    },
}

ORDER_LIST: Schema = {
    "type": "object",
    "properties": {
        "orders": {"type": "array", "items": ORDER},
        "next_cursor": {"type": ["string", "null"], "description": "Give it as cursor for the next page."},
        **_FRESHNESS,
    },
    "example": {"orders": [ORDER["example"]], "next_cursor": None, "revision": 48, "stale_s": 0.0},
}

EVENT: Schema = {
    "type": "object",
    "properties": {
        "message_id": {"type": "string", "format": "uuid"},
        "order_id": {"type": ["string", "null"]},
        "sequence": {"type": "integer", "minimum": 1, "description": "Place in the order's life."},
        "type": {"type": "string"},
        "from_status": {**_STATUS, "type": ["string", "null"], "enum": [*_STATUS["enum"], None]},
        "to_status": _STATUS,
        "attempt": {"type": "integer"},
        "drone_id": {"type": ["string", "null"]},
        "epoch": {"type": "integer", "description": "Of the leader that decided it."},
        "reason": {"type": ["string", "null"]},
        "at": _TIME,
        "revision": {"type": ["integer", "null"], "description": "Of the store; null where it is not known any more."},
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
            "description": "Every drone that was heard of late, is reserved, or has a breaker.",
            "items": {
                "type": "object",
                "properties": {
                    "drone_id": {"type": "string"},
                    "drone_class": {"type": ["string", "null"]},
                    "phase": {"type": "string", "enum": [phase.name for phase in Phase]},
                    "position": {
                        "type": ["object", "null"],
                        "properties": {
                            "lat": {"type": "number"},
                            "lon": {"type": "number"},
                            "altitude_m": {"type": ["number", "null"], "description": "Above the depot's ground."},
                        },
                    },
                    "heading_rad": {
                        "type": ["number", "null"],
                        "description": "Course over the ground, radians from east, counter-clockwise.",
                    },
                    "energy_fraction": {"type": ["number", "null"], "description": "0 to 1 of a full battery."},
                    "package_on_board": {"type": "boolean"},
                    "message_id": {"type": ["string", "null"], "description": "Its order."},
                    "order_id": {"type": ["string", "null"]},
                    "destination": {**_POINT, "type": ["object", "null"]},
                    "breaker": {"type": "string", "enum": ["closed", "half-open", "open"]},
                    "heard_s": {"type": ["number", "null"], "description": "Age of its last word; null: none yet."},
                    "attempt": {"type": ["integer", "null"], "description": "Of its reservation, as the next two."},
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
                    "bound": {"type": "integer", "description": "Most that may wait."},
                    "level": {"type": "string", "enum": ["CLEAR", "SLOW_DOWN", "FULL"]},
                },
            },
        },
        "breakers": {
            "type": "array",
            "description": "This gateway's towards the store, and those of the drones that have failed of late.",
            "items": {
                "type": "object",
                "properties": {
                    "service": {"type": "string"},
                    "state": {"type": "string", "enum": ["closed", "half-open", "open"]},
                },
            },
        },
        "orders": {"type": "object", "description": "How many orders have which status."},
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
                            "drone_silent",
                        ],
                    },
                    "severity": {"type": "string", "enum": ["critical", "warning"]},
                    "summary": {"type": "string"},
                    "since": _TIME,
                    "subject": {"type": "string", "description": "A drone, a lane, a message id, a region or etcd."},
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
    409: ("order_id_taken", "order_id order-1001 belongs to an order with another content", "order_id"),
    413: ("body_too_large", "The body may have 65536 bytes at most.", None),
    415: ("not_json", "Send the order with Content-Type: application/json.", None),
    422: ("out_of_range", "must be between -90 and 90", "destination.lat"),
    429: ("rate_limited", "One client may ask 500 times a second, 1000 times at once.", None),
    500: ("internal_error", "An error of the gateway; it is in its log.", None),
    503: ("store_unavailable", "The store cannot be reached.", None),
}

PROBLEM: Schema = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "For people."},
        "field": {"type": ["string", "null"], "description": "What is wrong, e.g. destination.lat."},
        "code": {"type": "string", "description": "For programs."},
    },
}


def answer(description: str, schema: Schema) -> dict[str, Any]:
    """An OpenAPI response with a JSON body; its example is the schema's."""
    body = {"schema": {key: value for key, value in schema.items() if key != "example"}}
    return {"description": description, "content": {"application/json": {**body, "example": schema["example"]}}}


def text(description: str, content_type: str, example: str) -> dict[str, Any]:
    """An OpenAPI response that is text."""
    return {"description": description, "content": {content_type: {"schema": {"type": "string"}, "example": example}}}


def problem(description: str, status: int) -> dict[str, Any]:
    """An OpenAPI response with a problem as body."""
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
