import type { FullResult, Reporter, Suite } from '@playwright/test/reporter'

/** Closes the run with a line that scripts can read. */
export default class Summary implements Reporter {
  private suite?: Suite

  onBegin(_: unknown, suite: Suite) {
    this.suite = suite
  }

  onEnd(result: FullResult) {
    const outcomes = this.suite?.allTests().map((test) => test.outcome()) ?? []
    const passed = outcomes.filter((outcome) => outcome === 'expected' || outcome === 'flaky').length
    const failed = outcomes.filter((outcome) => outcome === 'unexpected').length
    // A run that did not come to its end has failed, whatever its tests say.
    const broken = result.status !== 'passed' && failed === 0 ? 1 : 0
    console.log(`\n${passed} passed, ${failed + broken} failed`)
  }
}
