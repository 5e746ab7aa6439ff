"""Renderings by jinja2, as transformers sets it up.

  chat_template_reference.py snippets SEED COUNT OUT.jsonl             a table of constructs, and COUNT random ones
  chat_template_reference.py chats SEED COUNT OUT.jsonl TEMPLATE...    COUNT random conversations per template

A line is {"source", "context", "text" (null where jinja2 raises), "generation": spans in characters,
"copied": [[message, character], ...] of the characters, white space apart, that come from contents}.
"""
import collections.abc
import datetime
import functools
import json
import os
import random
import sys

from jinja2 import nodes
from jinja2.compiler import CodeGenerator
from transformers.utils import chat_template_utils as utils

NOW = 1700000000


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(NOW)


utils.datetime = Clock


class Unprinted:
    """An iterator that cannot be printed: Python would write its address."""

    def __init__(self, iterator):
        self.iterator = iterator

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.iterator)

    def __repr__(self):
        raise RuntimeError("printed")


def unprinted(function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        out = function(*args, **kwargs)
        return Unprinted(out) if isinstance(out, collections.abc.Iterator) else out
    return call


class Unfolded(CodeGenerator):
    """Evaluates constant expressions when a template runs, as all others."""

    def _output_child_to_const(self, node, frame, finalize):
        raise nodes.Impossible()


def render(source, context, strict=False):
    try:
        compiled = utils._compile_jinja_template(source)
        if strict:
            environment = compiled.environment.overlay(optimized=False)
            environment.code_generator_class = Unfolded
            environment.filters = {name: unprinted(function) for name, function in environment.filters.items()}
            compiled = environment.from_string(source)
        blocks, spans = [], []
        with compiled.environment.activate_tracker(blocks, spans):
            for block in compiled.generate(**context):
                blocks.append(block)
        text = "".join(blocks)
        text.encode()
        return text, spans
    except Exception as error:
        return None, str(error)


TEXTS = ["Hello!", "", " two  spaces ", "line\nbreaks\n\n", "\n\n lead", "naïve Übung — 東京 🎉", "a<|im_end|>b", "{{ x }} {% y %}",
         "quote \" and ' and \\", "Tab\tand\r\nCRLF", "ÀÉÎ ŒUF ßtraße", "<think>\nwhy\n</think>\n\nbecause", "\u00a0nbsp\u3000", "ſ İ ŉ",
         "What is in the picture?", "1,2,3", "</s><s>[INST]", "ending in space ", "control \x01\x7f end", "long " * 20]


def text(rng):
    return rng.choice(TEXTS) + (rng.choice(TEXTS) if rng.random() < 0.3 else "")


TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "Tells the weather.\nFor a city.", "parameters": {
        "type": "object", "properties": {"city": {"type": "string", "description": "Die Stadt: \"Köln\" <b>"},
                                         "days": {"type": "integer"}}, "required": ["city"]}}},
    {"type": "function", "function": {"name": "add", "description": "", "parameters": {
        "type": "object", "properties": {"xs": {"type": "array", "items": {"type": "number"}}, "flag": {}}, "required": []},
        "return": {"type": "number"}}}]


def call(rng):
    arguments = rng.choice([{"city": "Köln", "days": 2}, {"x": 1.5, "y": None, "z": [True, "a"]}, {}])
    out = {"type": "function", "function": {"name": rng.choice(["weather", "add"]), "arguments": arguments}}
    if rng.random() < 0.8:
        out["id"] = "abcdefghi"
    return out


def parts(rng):
    out = [{"type": "text", "text": text(rng)} for _ in range(rng.randint(0, 2))]
    for _ in range(rng.randint(0, 2)):
        out.insert(rng.randint(0, len(out)), {"type": rng.choice(["image", "image", "video"])})
    return out


def conversation(rng):
    messages = []
    if rng.random() < 0.4:
        messages.append({"role": "system", "content": text(rng)})
    role = "user"
    listed = rng.random() < 0.3
    for _ in range(rng.randint(0 if rng.random() < 0.1 else 1, 6)):
        message = {"role": role, "content": parts(rng) if listed and rng.random() < 0.8 else text(rng)}
        if role == "assistant" and rng.random() < 0.2:
            message["tool_calls"] = [call(rng) for _ in range(rng.randint(1, 2))]
            if rng.random() < 0.3:
                message["content"] = None
        if role == "assistant" and rng.random() < 0.1:
            message["reasoning_content"] = text(rng)
        messages.append(message)
        if rng.random() < 0.07:
            role = rng.choice(["tool", "system", "context", "user", "assistant", "odd"])
        else:
            role = "assistant" if role != "assistant" else "tool" if "tool_calls" in message else "user"
    context = {"messages": messages, "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": rng.random() < 0.5}
    if rng.random() < 0.9:
        context["tools"] = rng.choice([None, None, TOOLS, TOOLS[:1]])
    for name, value in [("enable_thinking", False), ("add_vision_id", True), ("builtin_tools", ["add", "interpreter"]),
                        ("date_string", "1 Jan 2000"), ("tools_in_user_message", False)]:
        if rng.random() < 0.2:
            context[name] = value
    return context


def disguise(value, number):
    """Each character of a content becomes one that stands for its message."""
    if isinstance(value, str):
        return "".join(c if c.isspace() else chr(0xF0000 + number) for c in value)
    if isinstance(value, list):
        return [disguise(item, number) for item in value]
    if isinstance(value, dict):
        return {k: v if k == "type" else disguise(v, number) for k, v in value.items()}
    return value


def flattened(value):
    if isinstance(value, str):
        return "".join(" " if c.isspace() else c for c in value)
    if isinstance(value, list):
        return [flattened(item) for item in value]
    return {k: flattened(v) for k, v in value.items()} if isinstance(value, dict) else value


def copied(source, context, expected):
    """Where characters of contents went, where the template does not look into them."""
    if "</think>" in source and any("</think>" in json.dumps(m["content"]) for m in context["messages"]):
        return None
    messages = [dict(m, content=disguise(m["content"], i)) for i, m in enumerate(context["messages"])]
    # Line breaks that are written as escapes could not be told from the template's own.
    flat = [dict(m, content=flattened(m["content"])) for m in messages]
    if len(render(source, dict(context, messages=flat))[0] or "") != len(expected):
        return None
    rendered, _ = render(source, dict(context, messages=messages))
    if rendered is None or len(rendered) != len(expected):
        return None
    at = [(ord(c) - 0xF0000, i) for i, c in enumerate(rendered) if 0xF0000 <= ord(c) < 0xF0100]
    marks = {i for _, i in at}
    if any(a != b for i, (a, b) in enumerate(zip(rendered, expected)) if i not in marks):
        return None
    return at


CONTEXT = {
    "s": "Hello, World", "u": "naïve ßtraße ΑΣ 東京", "e": "", "sp": "  a b\tc \n", "lines": "one\n two\n\nthree", "n": 7, "z": 0, "neg": -3,
    "f": 2.5, "big": 1e16, "small": 1e-5, "t": True, "no": False, "nil": None, "l": [3, 1, 2], "ls": ["b", "A", "c", "a"], "el": [],
    "nested": [[1, 2], [3, 4]], "d": {"b": 1, "a": "x", "items": 5, "B": None}, "ed": {},
    "rows": [{"role": "user", "n": 2, "tags": ["x"]}, {"role": "bot", "n": 1, "tags": []}, {"role": "user", "n": 3}],
    "html": "<a href=\"x\">'&'</a>", "digits": " 42 ", "real": "3.75", "word": "word"}

SNIPPETS = r"""
{{ s }}|{{ n }}|{{ f }}|{{ big }}|{{ small }}|{{ t }}|{{ nil }}|{{ l }}|{{ d }}|{{ missing }}|{{ nested }}
{{ 1e100 }} {{ 1.0 }} {{ 0.1 + 0.2 }} {{ 1e15 }} {{ 123456789012345.678 }} {{ 1/3 }} {{ -0.0 }} {{ 5e-324 }} {{ 1e22 }} {{ 100000.0 }}
{{ 1_000 }} {{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1_0.5 }} {{ 2e3 }}
{{ "a" "b" 'c' }} {{ 'it\'s' }} {{ "tab\there" }} {{ "\u00e9\x41\101" }} {{ "\q" }} {{ "é\é" }}
{{ ['a"b', "it's", 'both\'"', "\n", "é", "\u200b", "\x00"] }}
{{ (1,) }} {{ () }} {{ (1, 2) }} {{ [] }} {{ {} }} {{ {'a': 1, 2: 'b', none: true, 1.5: [1]} }}
{{ 1 + 2 * 3 ** 2 // 4 % 5 - 6 / 4 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }}
{{ 2 ** -1 }} {{ 2 ** 0.5 }} {{ 4 / 2 }} {{ true + 1 }} {{ 1 ~ 2 ~ nil ~ missing ~ t }} {{ 'a' * 3 }} {{ 3 * [1] }} {{ [1] + [2] }} {{ (1,) + (2,) }}
{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 1 == 1.0 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 1 == true }} {{ '1' == 1 }} {{ nil == missing }} {{ missing == missing2 }}
{{ 1 in l }} {{ 5 not in l }} {{ 'ell' in s }} {{ 'a' in d }} {{ not 1 in l }} {{ not t and no }} {{ t or missing.x }} {{ no and missing.x }} {{ e or 'x' }} {{ 0 or nil }}
{{ 'yes' if t else 'no' }} {{ 'yes' if no }} {{ 1 if no else 2 if no else 3 }} {{ (1 if t else 2) + 1 }}
{{ l[0] }} {{ l[-1] }} {{ l[5] }} {{ l[1:] }} {{ l[::-1] }} {{ l[:-1] }} {{ s[1:4] }} {{ s[::-2] }} {{ u[::-1] }} {{ u[2] }} {{ s[-3:] }} {{ l[10:] }} {{ l[-10:2] }} {{ s[5:1] }}
{{ d.a }} {{ d['a'] }} {{ d.items() | list }} {{ d['items'] }} {{ d.nothing }} {{ d.get('q', 3) }} {{ d.keys() | list }} {{ d.values() | list }} {{ nested[1][0] }} {{ nested.1.0 }} {{ rows[0].role }}
{{ missing.x }}
{{ missing['x'] }}
{{ nil.x }} {{ nil['x'] }} {{ n.x }} {{ s.x }} {{ s['upper']() }} {{ l.x }}
{{ d.items }}x
{{ nil() }}
{{ missing() }}
{{ missing + 1 }}
{{ s + 1 }}
{{ 1 / 0 }}
{{ l[1:2, 3] }}
{{ nil[1:] }}
{{ 'a' < 1 }}
{{ 1 in 2 }}
{{ 1 in 'a' }}
{% for x in 5 %}{% endfor %}
{% for x in nil %}{% endfor %}
{% for x in missing %}{{ x }}{% else %}none{% endfor %}
{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.depth }}{{ loop.cycle('a', 'b') }};{% endfor %}
{% for x in l if x > 1 %}{{ x }}{{ loop.index }}{{ loop.length }}{% else %}none{% endfor %}
{% for x in l if x > 9 %}{{ x }}{% else %}none{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }},{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for (a, b) in nested %}{{ a + b }}{% endfor %}{% for c in u %}{{ c }}.{% endfor %}
{% for a, b in l %}{% endfor %}
{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}
{% for x in [1,1,2] %}{{ loop.changed(x) }}{% endfor %}
{% for x in l %}{% for y in ls %}{{ loop.index }}{{ loop.depth }}{% endfor %}{{ loop.index }}{% endfor %}
{% set x = 1 %}{% for i in l %}{{ x }}{% set x = i %}{{ x }}{% endfor %}{{ x }}
{% for i in l %}{{ q }}{% set q = i %}{{ q }}{% endfor %}{{ q }}
{% set ns = namespace(a=1, b='x') %}{% for i in l %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c }}{{ ns['a'] }}{{ ns }}
{% set ns = namespace(d) %}{{ ns.a }}
{% set d.x = 1 %}
{% set ns = namespace() %}{% set ns._x = 1 %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}{% set (p, q) = [3, 4] %}{{ p + q }}
{% set block %}  text {{ n }}  {% endset %}[{{ block }}]{% set block | trim | upper %} x {{ s }} {% endset %}[{{ block }}]
{% if n > 5 %}a{% elif n > 3 %}b{% else %}c{% endif %}{% if el %}x{% elif ed %}y{% endif %}{% if 0.0 or '' or () %}z{% endif %}
{% if false %}{% set v = 1 %}{% endif %}{{ v is defined }}{% if true %}{% set v = 1 %}{% endif %}{{ v }}
{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(1, c=4) }}{{ m(1, 2, 3, 4) }}{{ m(1, z=5) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m() }}|{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}
{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}x{{ n }}{% endcall %}
{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b) m() %}{{ a }}-{{ b }}{% endcall %}
{% macro f(x) %}{{ x if x < 2 else f(x - 1) ~ f(x - 2) }}{% endmacro %}{{ f(5) }}{{ f.name }}
{% set x = 1 %}{% macro m() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ m() }}{% with x = 3, y = x %}{{ x }}{{ y }}{{ m() }}{% endwith %}{{ x }}
{% filter upper | replace('A', 'b') %}aha {{ s }}{% endfilter %}
{% raw %}{{ x }} {% if %}{% endraw %} {%- raw -%}  a  {%- endraw -%}  b
{# comment #}a{#- c -#} b {#+ d +#} c
  {% if t %}  a  {% endif %}  
x {%- if t -%}  a  {%- endif -%}  y
x {%+ if t +%}  a  {%+ endif %}  y
{{- s -}}   {{ n -}}  x
{% print n %}{% print n, s %}{{ 1, 2 }}
{{ s | upper }}{{ s | lower }}{{ u | upper }}{{ u | lower }}{{ u | title }}{{ u | capitalize }}{{ "they're bill's (a-b) x" | title }}{{ "they're x1y ǆ" | title }}{{ "they're x1y ǆ".title() }}{{ s.swapcase() }}
{{ sp | trim }}|{{ 'xxaxx' | trim('x') }}|{{ sp.strip() }}|{{ sp.lstrip() }}|{{ sp.rstrip() }}|{{ 'abcba'.strip('ab') }}|{{ n | trim }}
{{ s | replace('l', 'L') }}{{ s | replace('l', 'L', 1) }}{{ 'aaa'.replace('', '-') }}{{ 'aaa'.replace('a', 'b', 2) }}{{ n | replace(7, 8) }}
{{ s | length }}{{ l | count }}{{ d | length }}{{ u | length }}{{ missing | length }}{{ range(5) | length }}
{{ n | length }}
{{ l | map('string') | length }}
{{ l | first }}{{ l | last }}{{ el | first }}{{ s | first }}{{ s | last }}{{ d | first }}{{ missing | first }}{{ missing | last }}
{{ l | join }}{{ l | join(', ') }}{{ rows | join('-', attribute='role') }}{{ s | join('.') }}{{ missing | join }}{{ d | join(',') }}
{{ missing | default('x') }}{{ e | default('x') }}{{ e | default('x', true) }}{{ nil | d('y') }}{{ nil | default('y', boolean=true) }}{{ missing | d }}
{{ d | tojson }}{{ nested | tojson }}{{ html | tojson }}{{ u | tojson }}{{ u | tojson(ensure_ascii=true) }}{{ f | tojson }}{{ "\n\t\x01\x7f\u2028" | tojson }}{{ nil | tojson }}{{ (1, 2) | tojson }}{{ '🎉' | tojson(true) }}
{{ d | tojson(indent=2) }}{{ {'a': [], 'b': {}, 'c': [1, {'x': 2}]} | tojson(indent=1) }}{{ d | tojson(sort_keys=true, separators=(',', ':')) }}{{ l | tojson(indent='--') }}{{ {1: 2, none: 3, true: 4, 1.5: 5} | tojson }}{{ [1] | tojson(indent=0) }}
{{ missing | tojson }}
{{ range(3) | tojson }}
{{ l | list }}{{ s | list }}{{ d | list }}{{ range(3) | list }}{{ range(3) }}{{ range(1, 9, 3) | list }}{{ range(5, 0, -2) | list }}{{ range(2, 5) }}{{ range(0, 9, 2) }}
{{ range(1, 2, 0) }}
{{ range(1000000) }}
{{ l | map('string') | list }}{{ rows | map(attribute='n') | list }}{{ rows | map(attribute='tags', default='-') | list }}{{ ls | map('upper') | join }}{{ rows[:2] | map(attribute='tags.0') | list }}{{ l | map('float') | list }}{{ ls | map('replace', 'a', 'z') | list }}
{{ l | select('odd') | list }}{{ l | reject('odd') | list }}{{ l | select('gt', 1) | list }}{{ [0, 1, '', 'a'] | select | list }}{{ [0, 1] | reject | list }}{{ l | select('in', [1, 2]) | list }}
{{ rows | selectattr('n', '>', 1) | map(attribute='role') | list }}{{ rows | selectattr('tags') | list }}{{ rows | rejectattr('role', 'equalto', 'user') | list }}{{ rows | selectattr('tags', 'defined') | list | length }}{{ rows | rejectattr('tags') | list | length }}
{{ l | sort }}{{ l | sort(reverse=true) }}{{ ls | sort }}{{ ls | sort(case_sensitive=true) }}{{ rows | sort(attribute='n') | map(attribute='n') | list }}{{ rows | sort(attribute='role,n', reverse=true) | map(attribute='n') | list }}
{{ [1, 'a'] | sort }}
{{ [1, 2, 1, 'a', 'A'] | unique | list }}{{ [1, 2, 1, 'a', 'A'] | unique(true) | list }}{{ rows | unique(attribute='role') | list | length }}
{{ l | reverse | list }}{{ s | reverse }}{{ u | reverse }}{{ d | reverse | list }}
{{ d | items | list }}{{ missing | items | list }}{{ d | dictsort }}{{ {'b': 2, 'a': 3} | dictsort(by='value') }}{{ {'b': 2, 'a': 3} | dictsort(reverse=true) }}
{{ s | items | list }}
{{ '42' | int }}{{ '42.9' | int }}{{ 'x' | int }}{{ 'x' | int(7) }}{{ digits | int }}{{ '0x1f' | int(base=16) }}{{ 3.9 | int }}{{ -3.9 | int }}{{ nil | int }}{{ l | int }}{{ '1_0' | int }}{{ true | int }}{{ '-5' | int }}{{ 'inf' | int }}
{{ '3.5' | float }}{{ 'x' | float }}{{ 'x' | float(1.5) }}{{ n | float }}{{ nil | float }}{{ '1e3' | float }}{{ 'nan' | float }}{{ '-inf' | float }}{{ ' 2 ' | float }}{{ '1_0.5' | float }}
{{ missing | int }}
{{ 2.5 | round }}{{ 3.5 | round }}{{ 2.675 | round(2) }}{{ 42.55 | round(1, 'floor') }}{{ 42.55 | round(1, 'ceil') }}{{ 7 | round }}{{ 1234 | round(-2) }}{{ 1250 | round(-2) }}{{ 1350 | round(-2) }}{{ -2.5 | round }}{{ 0.5 | round }}{{ 15.0 | round(-1) }}
{{ neg | abs }}{{ -2.5 | abs }}{{ true | abs }}{{ l | sum }}{{ rows | sum(attribute='n') }}{{ [0.1, 0.2] | sum }}{{ nested | sum(start=[]) }}{{ l | min }}{{ l | max }}{{ ls | min }}{{ ls | max }}{{ el | max }}{{ rows | max(attribute='n') }}
{{ lines | indent }}|{{ lines | indent(2, true) }}|{{ lines | indent('>', first=true, blank=true) }}|{{ 'a\n' | indent }}|{{ '' | indent }}
{{ html | e }}{{ html | escape | upper }}{{ html | safe }}{{ html | forceescape }}{{ '<' | e + '<' }}{{ '<' | e ~ '<' }}{{ ('<' | e) | escape }}{{ '<' | safe | forceescape }}
{{ '%s is %d and %r %% %5.2f|%-5s|%05d|%x|%+d' | format('a', 3, 'b', 2.345, 'c', 42, 255, 7) }}{{ '%s' % n }}{{ '%(a)s' | format(a=1) }}{{ '%s %s' % (1, 2) }}
{{ '%d' % 'a' }}
{{ '%s' | format(1, 2) }}
{{ s | center(20) }}|{{ 'ab' | center(5) }}|{{ 'abc' | center(6) }}|{{ s | truncate(8) }}|{{ s | truncate(8, true) }}|{{ lines | wordcount }}|{{ s | truncate(9, false, '..', 0) }}
{{ l | batch(2) | list }}{{ l | batch(2, 'x') | list }}{{ d | attr('a') }}{{ s | attr('upper') is callable }}
{{ s.split() }}{{ s.split(',') }}{{ s.split('l', 1) }}{{ s.rsplit('l', 1) }}{{ sp.split() }}{{ sp.split(none, 1) }}{{ sp.rsplit(none, 1) }}{{ ''.split() }}{{ ''.split(',') }}{{ 'a,,b'.split(',') }}{{ s.split(maxsplit=1) }}{{ lines.splitlines() }}{{ lines.splitlines(true) }}
{{ s.split('') }}
{{ s.startswith('He') }}{{ s.endswith('ld') }}{{ s.startswith(('x', 'H')) }}{{ s.startswith('l', 2) }}{{ s.endswith('l', 0, 4) }}{{ s.find('o') }}{{ s.find('zz') }}{{ s.rfind('o') }}{{ s.index('o') }}{{ s.count('l') }}{{ u.find('東') }}{{ s.count('') }}{{ s.find('o', 5) }}
{{ s.index('zz') }}
{{ ','.join(ls) }}{{ 'a-b'.partition('-') }}{{ 'a-b-c'.rpartition('-') }}{{ 'ab'.partition('-') }}{{ 'ab'.rpartition('-') }}{{ 'x'.zfill(3) }}{{ '-5'.zfill(4) }}{{ 'x'.ljust(3) }}|{{ 'x'.rjust(3, '.') }}{{ 'x'.center(4, '.') }}{{ 'prefix'.removeprefix('pre') }}{{ 'suffix'.removesuffix('fix') }}
{{ ','.join(l) }}
{{ '1'.isdigit() }}{{ 'a'.isalpha() }}{{ 'a1'.isalnum() }}{{ ' '.isspace() }}{{ 'A'.isupper() }}{{ 'a'.islower() }}{{ ''.isdigit() }}{{ '²'.isdigit() }}{{ '½'.isnumeric() }}{{ 'Aa'.isupper() }}{{ 'é'.isalpha() }}{{ '1.5'.isdecimal() }}{{ 'a'.isascii() }}
{{ '{} and {}'.format(1, 'b') }}{{ '{1}{0}'.format(1, 2) }}{{ '{a}'.format(a=3) }}{{ '{{}}'.format() }}
{{ l.append(4) }}
{{ d.update({}) }}
{{ l.append is defined }}{{ d.pop is defined }}{{ s.__class__ is defined }}{{ l.index(1) }}{{ l.count(1) }}{{ (1, 2).index(2) }}{{ d.copy() }}
{{ n is defined }}{{ missing is defined }}{{ missing is undefined }}{{ nil is none }}{{ s is string }}{{ d is mapping }}{{ l is sequence }}{{ l is iterable }}{{ s is iterable }}{{ n is iterable }}{{ n is number }}{{ f is number }}{{ t is number }}{{ n is integer }}{{ t is integer }}{{ f is float }}{{ t is boolean }}{{ t is true }}{{ no is false }}{{ 1 is true }}{{ missing is iterable }}{{ missing is sequence }}{{ d is sequence }}{{ s is sequence }}{{ range(2) is sequence }}{{ d.items() is sequence }}{{ (l | map('string')) is iterable }}
{{ n is odd }}{{ n is even }}{{ n is divisibleby 7 }}{{ n is divisibleby(2) }}{{ n is eq 7 }}{{ n is equalto 7 }}{{ n is ne 7 }}{{ n is gt 5 }}{{ n is lt 5 }}{{ n is ge 7 }}{{ n is le 7 }}{{ n is in [7] }}{{ n is not in [7] }}{{ n is sameas 7 }}{{ t is sameas true }}{{ s is upper }}{{ 'abc' is lower }}{{ n is not none }}{{ s is callable }}{{ range is callable }}{{ 'upper' is filter }}{{ 'odd' is test }}{{ ('a' | e) is escaped }}{{ f is odd }}{{ 3.0 is odd }}
{{ not n is odd }}{{ n is odd and t }}{{ n is odd or missing.x }}{{ n is odd == t }}
{{ n is eq 7 is odd }}
{{ dict(a=1, b=2) }}{{ dict([('x', 1)]) }}{{ dict(d, z=1) }}{{ {'a': 1, 'a': 2} }}{{ {1: 'a', true: 'b', 1.0: 'c'} }}
{{ {[1]: 2} }}
{{ d[[1]] }}|{{ l['a'] }}|{{ l[1.5] }}|{{ l[true] }}|{{ d[1] }}|{{ s[0] }}|{{ (1, 2)[0] }}|{{ range(3)[1] }}
{{ l | unknown }}
{{ l is unknown }}
{% if no %}{{ l | unknown }}{% endif %}ok
{% if no %}{% for x in l %}{{ l | unknown }}{% endfor %}{% endif %}ok
{{ (l | unknown) if no else 1 }}
{% unknown %}
{% if t %}
{% endif %}
{{ s
{{ (1 }}
{{ 1 + }}
{{ }}
{% set true = 1 %}
{% break %}
{% for x in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}
{{ raise_exception('boom') }}
{% if no %}{{ raise_exception('boom') }}{% endif %}fine
{{ strftime_now('%Y-%m-%d %B %H:%M') }}{{ strftime_now('%d %b %Y') }}
{% generation %}{{ s }}{% endgeneration %} and {% generation %}x{{ n }}{% endgeneration %}{% generation %}é{% endgeneration %}!
{% for r in rows %}{{ r.role }}:{% generation %}{{ r.n }}{% endgeneration %}; {% endfor %}
{% set x %}{% for i in l %}{{ i }}{% if i == 1 %}{% break %}{% endif %}{% endfor %}{% endset %}{{ x }}
{{ [1, 2, 3] is eq [1, 2, 3] }}{{ {'a': 1} == {'a': 1.0} }}{{ (1, 2) == [1, 2] }}{{ [] == () }}{{ d == d }}{{ range(3) == range(3) }}
{{ "a" if missing else "b" }}{{ missing | list }}{{ missing ~ 'x' }}{{ missing | upper }}{{ missing | trim }}{{ [missing] }}{{ {'a': missing} }}{{ not missing }}{{ 'x' in missing }}
{{ [1, [2, [3, {'a': (4, none)}]]] | string | length }}{{ l | string }}{{ nil | string }}{{ 1.0 | string }}
{{ loop }}x
{{ range(3)[1:] }}{{ range(0, 9, 2)[::-1] }}{{ range(3)[5:] }}{{ range(2).index(1) }}{{ range(3).count(9) }}{{ {range(3): 1}[range(0, 3, 1)] }}{{ range(5)[1:4][::2] | list }}
{% filter length %}abc{% endfilter %}
{{ u.title() }}{{ u.swapcase() }}{{ 'aΣ' | capitalize }}{{ 'Σ' | capitalize }}{{ 'ΑΣ Σ ΑΣΑ İΣ' | title }}{{ 'ΑΣ Σ ΑΣΑ İΣ'.title() }}{{ 'ΑΣ Σ ΑΣΑ İΣ'.swapcase() }}{{ 'ΑΣ'.capitalize() }}
{% set low, high = -9223372036854775807 - 1, 9223372036854775807 %}{{ ['x'.center(low), 'x'.zfill(low), 'a b'.split(' ', low), 'a b'.rsplit(' ', high), 'aa'.replace('a', 'b', low), 'ab'.replace('', '-', low), 'abc' | truncate(high, true, '', high), s[low:high], l[high:low:-1], l[::high], high | round(-18), -25 | round(-1), -15 | round(-1), -26 | round(-1), 25 | round(-1), 35 | round(-1)] }}
{{ n[1:] }}
{{ l['a':] }}
{{ 'x' % range(2) }}{{ 'x' % l }}{{ (l | map('string')) in d }}{{ d.values() in d }}
{{ 'x' % (l | map('string')) }}
{{ d.items() in d }}
{% set h = html | e %}{{ [h.split('a'), h.partition('='), h[1:], h * 2, h[0], h | first, h | last, h.replace('a', '<'), h.join(['<']), h.title(), h | title, h | upper, h | trim, h | indent, h | reverse, h | truncate(8, true), h | list, h | replace('a', '<'), ['<', h] | join, h ~ '<', h + '<', ('%s' | e) % '<', ('{}' | e).format('<'), h | string, h | center(60), h.strip('<'), h.splitlines(), h.zfill(9)] }}
{{ m.x if m is defined and m.x is defined else 'none' }}
{% set messages = [{'role': 'a'}] + rows %}{{ messages | length }}{{ messages[-1].n }}{{ messages[1:][0]['role'] }}{{ messages[loop_index | default(0)].role }}
{% for x in rows | map(attribute='role') %}{{ loop.index }}{{ x }}{{ loop.last }}{{ loop.length }}{% endfor %}
{%- set it = l | map('string') -%}{{ it | list }}{{ it | list }}{{ it | first }}
{{ *l }}
{% macro m(a, b, c) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(*l) }}{{ m(**{'a': 1, 'b': 2, 'c': 3}) }}{{ m(1, *[2, 3]) }}
{{ 'a' 'b' | upper }}{{ ('a' ~ 'b') | upper }}{{ 'a' ~ 'b' | upper }}{{ 'x' + 'y' | upper }}{{ -1 | abs }}{{ (-1) | abs }}{{ 2 * 3 | string }}
{{ 'a'.upper().lower().title() }}{{ ['a'][0].upper() }}{{ {'k': ['v']}.k[0] }}{{ (s | upper).split(',')[0][1:] }}{{ "%s" | format(l) }}
{{ s | upper() | lower }}{{ s|replace("l","")|length }}{{ (s|length) // 2 }}{{ l|sum / l|length }}
""".strip("\n").split("\n")

MULTILINE = [
    "{% if t %}\n  a\n{% endif %}\n\n{% for x in l %}\n  - {{ x }}\n{% endfor %}\nend\n", "a\r\nb\rc\n\n", "\n{% if t %}\n\n{% endif %}\n\n",
    "  {# c #}\n  x\n\t{% set y = 1 %}\n z", "{{ 'a\r\nb' }}", "x\n   {%- if t %}\n  y\n   {%- endif %}\n", "{% raw %}\n a \n{% endraw %}\n b",
    "{{ n }}\n{{ n }}\n", "{% set a =\n 1\n%}\n{{ a }}\u00a0{%- if t %}x{% endif -%}\u2003y", "{# a\nb #}\n{{ s }}{# x -#}\n\n y", "a{{ '}}' }}b{{ '%}' }}c{% if '{%' %}{% endif %}",
    "{{ {'a': {'b': 1}}}}", "{{ {'a': {'b': 1}} }}", "{ { {% } } %} { {{ '{' }} }", "{%if t%}x{%endif%}{{s}}", "{% for x in l -%}\n  {{ x }},\n{%- endfor %}", "{{ s }} \n", "{"]

ATOMS = ["s", "u", "e", "sp", "n", "z", "neg", "f", "t", "no", "nil", "l", "ls", "el", "nested", "d", "ed", "rows", "missing", "1", "0", "2.5", "'a'", "'Ab c'",
         "[1, 2]", "{'k': 'v'}", "(1, 'x')", "rows[0]", "d.a", "range(3)", "-1", "html", "digits", "lines", "word", "big", "none", "true"]
FILTERS = ["upper", "lower", "trim", "title", "capitalize", "length", "first", "last", "join", "join('-')", "list", "sort", "reverse", "unique", "string", "int",
           "float", "abs", "round", "tojson", "tojson(indent=2)", "default('d')", "default('d', true)", "replace('a', 'bb')", "sum", "min", "max", "items", "dictsort",
           "map('string')", "map('upper')", "map(attribute='role')", "select", "reject('none')", "selectattr('n')", "selectattr('role', 'eq', 'user')", "indent",
           "escape", "safe", "center(9)", "truncate(5)", "batch(2)", "wordcount", "select('string')", "map('length')", "e", "count", "round(1)", "sort(reverse=true)"]
TESTS = ["defined", "none", "string", "mapping", "iterable", "sequence", "number", "integer", "float", "boolean", "true", "odd", "even", "upper", "lower", "callable",
         "eq(1)", "in([1, 'a'])", "divisibleby(2)", "sameas(true)", "gt(0)", "undefined", "false", "escaped", "ne('a')", "lt(2)"]
METHODS = [".upper()", ".strip()", ".split()", ".split('a')", ".items()", ".keys()", ".get('a')", ".startswith('a')", ".title()", ".role", "[0]", "[-1]", "[1:]", "[::-1]",
           "['a']", ".a", "[:2]", ".x", ".values()", ".count('a')", ".replace('a', '')", "[n]", ".capitalize()", ".isdigit()", ".splitlines()", ".index(1)", ".find('b')",
           ".rsplit(none, 1)", ".lstrip('H')", ".endswith(('d', 'c'))", ".swapcase()", ".join(ls)", "[s]", "[1:-1:2]"]
BINARY = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", ">", "<=", ">=", "in", "not in", "and", "or", "**"]


def expression(rng, depth):
    kind = rng.random()
    if depth == 0 or kind < 0.1:
        return rng.choice(ATOMS)
    inner = expression(rng, depth - 1)
    if kind < 0.4:
        return f"{inner} | {rng.choice(FILTERS)}" if rng.random() < 0.5 else f"({inner}) | {rng.choice(FILTERS)}"
    if kind < 0.55:
        return f"({inner}){rng.choice(METHODS)}"
    if kind < 0.65:
        return f"{inner} is {rng.choice(['', 'not '])}{rng.choice(TESTS)}"
    if kind < 0.85:
        return f"{inner} {rng.choice(BINARY)} {expression(rng, depth - 1)}"
    if kind < 0.9:
        return f"({inner} if {expression(rng, depth - 1)} else {expression(rng, depth - 1)})"
    if kind < 0.95:
        return f"{rng.choice(['not ', '-', '+'])}{inner}"
    return f"[{inner}, {expression(rng, depth - 1)}]"


SPACE = ["", " ", "\n", "  ", "\n  ", "\t", " \n\n ", "x", "x\n", "\n x "]


def statement(rng, depth):
    """Tags with random white space control around them."""
    def tag(body):
        return "{%" + rng.choice(["", "", "-", "+"]) + f" {body} " + rng.choice(["", "", "-", "+"]) + "%}"

    def space():
        return rng.choice(SPACE)

    kind = rng.random() if depth else 0
    if kind < 0.35:
        return space() + rng.choice(["{{ ", "{{- "]) + expression(rng, 2) + rng.choice([" }}", " -}}"]) + space()
    inside = statement(rng, depth - 1)
    if kind < 0.5:
        return space() + tag(f"if {expression(rng, 1)}") + inside + tag("else") + space() + statement(rng, depth - 1) + tag("endif") + space()
    if kind < 0.65:
        return space() + tag(f"for x in {expression(rng, 1)}") + inside + "{{ x }}{{ loop.index }}" + space() + tag("endfor") + space()
    if kind < 0.75:
        return tag(f"set v = {expression(rng, 2)}") + space() + inside + "{{ v }}" + space()
    if kind < 0.8:
        return tag("set v") + inside + tag("endset") + space() + "{{ v }}"
    if kind < 0.85:
        return space() + "{#" + rng.choice(["", "-", "+"]) + " c " + rng.choice(["", "-", "+"]) + "#}" + space() + inside
    if kind < 0.9:
        return tag("raw") + space() + "{{ y }}" + space() + tag("endraw") + inside
    return tag(f"filter {rng.choice(['upper', 'trim', 'length', 'title', 'indent'])}") + inside + tag("endfilter")


def snippets(seed, count, out):
    rng = random.Random(seed)
    fixed = SNIPPETS + MULTILINE
    written = left_out = 0
    while written < len(fixed) + count:
        source = fixed[written] if written < len(fixed) else statement(rng, rng.randint(0, 3))
        rendered, spans = render(source, CONTEXT)
        # Most random ones fail, which says little.
        if rendered is None and written >= len(fixed) and rng.random() < 0.8:
            continue
        written += 1
        # What prints an iterator differs from run to run. And in a constant expression jinja2 has undefined values where it raises for variables
        # ({{ (1)[1:] }}): that is not to be copied.
        if rendered is not None and (" at 0x" in rendered or render(source, CONTEXT, strict=True)[0] != rendered):
            left_out += 1
            continue
        row = {"source": source, "context": CONTEXT, "text": rendered}
        row["generation" if rendered is not None else "why"] = spans
        out.write(json.dumps(row) + "\n")
    assert left_out < 0.15 * written, f"{left_out} of {written} snippets cannot be compared"


def chats(seed, count, out, files):
    for file in files:
        rng = random.Random(f"{seed} {os.path.basename(file)}")
        with open(file, newline="") as stream:
            source = stream.read()
        if file.endswith(".json"):
            source = json.loads(source)["chat_template"]
        for _ in range(count):
            context = conversation(rng)
            rendered, spans = render(source, context)
            row = {"name": os.path.basename(file), "source": source, "context": context, "text": rendered}
            row["generation" if rendered is not None else "why"] = spans
            if rendered is not None:
                row["copied"] = copied(source, context, rendered)
            out.write(json.dumps(row) + "\n")


def main():
    mode, seed, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with open(sys.argv[4], "w") as out:
        snippets(seed, count, out) if mode == "snippets" else chats(seed, count, out, sys.argv[5:])


main()
