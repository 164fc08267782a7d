// Tests generator/errors.ts.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AntkvError, CompileError, EnvironmentError, EXIT, InputError, nearest, unknownName, UsageError, WrongResultError } from '../../generator/errors.ts';

test('each error has its exit code, its name and its fix', () => {
  for (const [Kind, code] of [[UsageError, 2], [InputError, 2], [EnvironmentError, 3], [CompileError, 4], [WrongResultError, 5]] as const) {
    const error = new Kind('what', 'how');
    assert.instance(error, AntkvError);
    assert.equal([error.exitCode, error.message, error.fix, error.name], [code, 'what', 'how', Kind.name]);
  }
  assert.is(new Set(Object.values(EXIT)).size, Object.keys(EXIT).length);
});

test('the nearest names are those that a slip explains, best first', () => {
  assert.equal(nearest('doctr', ['list', 'show', 'doctor']), ['doctor']);
  assert.equal(nearest('lsit', ['list', 'show', 'last']), ['list', 'last']);
  assert.equal(nearest('lsit', ['list', 'list', 'last']), ['list', 'last'], 'each once');
  assert.equal(nearest('xyzzyxyzzy', ['list', 'show', 'doctor']), []);
});

test('an unknown name lists all names if none is near', () => {
  assert.is(unknownName('thing', 'lst', ['list', 'show']).fix, 'did you mean list?');
  assert.is(unknownName('thing', 'zzzzzzzz', ['list', 'show']).fix, 'known: list, show');
});

test.run();
