// What texts look like on the page: how they are read, the text, and the HTML that it becomes.

export const CASES = [
  ['mrkdwn', 'a *b* _i_ ~s~ `c`', '<div class="text">a <strong>b</strong> <em>i</em> <s>s</s> <code>c</code></div>'],
  ['mrkdwn', '2*3*4 and snake_case_name', '<div class="text">2*3*4 and snake_case_name</div>'],
  ['mrkdwn', '*bold `code` and _both_*', '<div class="text"><strong>bold <code>code</code> and <em>both</em></strong></div>'],
  ['mrkdwn', '`*not bold*`', '<div class="text"><code>*not bold*</code></div>'],
  ['mrkdwn', 'one\ntwo', '<div class="text">one<br>two</div>'],
  ['mrkdwn', 'see\n```\nlet x = &lt;T&gt;;\n```', '<div class="text">see</div><pre><code>let x = &lt;T&gt;;</code></pre>'],
  ['mrkdwn', '```never closed', '<div class="text">```never closed</div>'],
  ['mrkdwn', '&gt; quoted\n• item', '<blockquote>quoted</blockquote><ul><li>item</li></ul>'],
  ['mrkdwn', 'hi <@U1|ada> in <#C1|random>', '<div class="text">hi <span class="mention">@ada</span> in <span class="mention">#random</span></div>'],
  ['mrkdwn', '<https://a.example/?x=1&amp;y|there>', '<div class="text"><a href="https://a.example/?x=1&amp;y" target="_blank" rel="noopener noreferrer">there</a></div>'],
  ['mrkdwn', '<javascript:alert(1)|click>', '<div class="text"><span>click</span></div>'],
  ['mrkdwn', '&lt;img src=x onerror=alert(1)&gt;', '<div class="text">&lt;img src=x onerror=alert(1)&gt;</div>'],
  ['mrkdwn', '<img src=x onerror=alert(1)>', '<div class="text"><span>img src=x onerror=alert(1)</span></div>'],
  ['mrkdwn', ':nonsense: 12:30:45', '<div class="text">:nonsense: 12:30:45</div>'],
  ['markdown', '# Title\ntext **bold** *it* ~~no~~', '<h3>Title</h3><p>text <strong>bold</strong> <em>it</em> <s>no</s></p>'],
  ['markdown', '- a\n- b\n  - c\n\n1. x', '<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul><ol><li>x</li></ol>'],
  ['markdown', '```rust\nlet a = **b**;\n```', '<pre><code>let a = **b**;</code></pre>'],
  ['markdown', '> said\n\n---', '<blockquote><p>said</p></blockquote><hr>'],
  ['markdown', '|a|b|\n|-|-|\n|1|`2`|', '<table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td>1</td><td><code>2</code></td></tr></tbody></table>'],
  ['markdown', '[there](https://a.example/x) [no](javascript:alert(1))', '<p><a href="https://a.example/x" target="_blank" rel="noopener noreferrer">there</a> <span>no</span></p>'],
  ['markdown', '<b>&amp; <script>', '<p>&lt;b&gt;&amp;amp; &lt;script&gt;</p>'],
  ['plain', 'a *b* &amp; <i>', 'a *b* &amp; &lt;i&gt;'],
];

/** Runs in the page: draws with the page's own code, beside the page. */
export async function drawn([how, text]) {
  const module = await import(how === 'markdown' ? '/assets/markdown.js' : '/assets/mrkdwn.js');
  const box = document.createElement('div');
  box.append(...module[how](text, { user: () => undefined, channel: () => undefined }));
  return box.innerHTML;
}
