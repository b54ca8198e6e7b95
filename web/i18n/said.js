// Sentences of the service in Chinese. The service speaks English; what is not listed here stays as it is.

const listed = [
  // Cells and days
  [/^never asked for$/, '从未查询'],
  [/^asked for in vain$/, '查询未果'],
  [/^not due yet$/, '尚未到期'],
  [/^not a trading day$/, '非交易日'],
  [/^not the last trading day of a week$/, '不是当周最后一个交易日'],
  [/^not the last trading day of a month$/, '不是当月最后一个交易日'],
  [/^not the end of a report period$/, '不是报告期末'],
  [/^the source has no rows$/, '数据源没有数据'],
  [/^the source has no rows so far$/, '数据源暂时没有数据'],
  [/^fewer rows than expected$/, '行数少于预期'],
  [/^fewer rows than expected: the source said so$/, '行数少于预期，数据源已确认'],
  [/^it will be asked again$/, '将再次查询'],
  [/^due to be asked again$/, '待再次查询'],
  [/^asked again from (.+) on$/, (at) => `将于 ${clock(at)} 再次查询`],
  [/^([\d,]+) securities are asked again$/, '$1 只证券将再次查询'],
  [/^([\d,]+) of ([\d,]+) securities(?:, ([\d,]+) in vain)?$/, (some, all, vain) => `${all} 只证券中的 ${some} 只${vain ? `，${vain} 只未果` : ''}`],
  [/^([\d,]+)(?: of [\d,]+)? securities are missing: (\S+) has none of (.+)$/, '缺 $1 只证券：$2 没有 $3'],
  [/^the ledger says ([\d,]+) rows, the table holds ([\d,]+)$/, '账本记 $1 行，表中有 $2 行'],
  [/^all done before$/, '此前已完成'],
  // Plans
  [/^everything that is due is claimed$/, '应到的都已有'],
  [/^nothing is due yet$/, '尚无应到的数据'],
  [/^no trading in that time$/, '该区间没有交易日'],
  [/^none of the codes is known$/, '代码均不存在'],
  [/^by (.+) and by (.+): ([\d,]+) calls?$/, (one, other, calls) => `按${cut(one)}与${cut(other)}：${calls} 次调用`],
  [/^by (\S+): ([\d,]+) calls?$/, (by, calls) => `按${cut(by)}：${calls} 次调用`],
  [/^by (\S+) would take ([\d,]+)$/, (by, calls) => `按${cut(by)}需 ${calls} 次`],
  [/^([\d,]+) days at ([\d,]+) calls a day$/, '每天 $2 次，共 $1 天'],
  [/^from (\S+) on$/, '自 $1 起'],
  [/^everything anew, put in place in one step$/, '全部重取，一步替换'],
  // Next runs
  [/^trading begins$/, '开盘'],
  [/^trading goes on$/, '盘中持续'],
  [/^waits for (\S+) to become whole(?: beyond (.+))?$/, (dataset, day) => `等待 ${dataset} 完整${day ? `（${day} 之后）` : ''}`],
  [/^(\S+) became whole up to (.+)$/, '$1 已完整至 $2'],
  [/^reports are announced on (.+)$/, '$1 有报告披露'],
  [/^waits for disclosure_date to name the next day$/, '等待披露计划给出下一日期'],
  [/^(\S+) is published from (\S+) on, by the catalogue$/, '$1 自 $2 起发布（目录）'],
  [/^(\S+) is published by (\S+), as (\d+) past days taught$/, '$1 至 $2 已发布（据过去 $3 天）'],
  [/^cron (.+?)( on trading days| or the next trading day| after trading days)?$/, (line, on) => `cron ${line}${days[on] ?? ''}`],
  [/^every (\d+) s( on trading days| or the next trading day| after trading days)?$/, (seconds, on) => `每 ${seconds} 秒${days[on] ?? ''}`],
  [/^not on (\S+)$/, '$1 除外'],
  [/^not from (\S+) to (\S+)$/, '$1 至 $2 除外'],
  [/^disclosure_date names no day yet: every trading day$/, '披露计划尚无日期：每个交易日'],
  [/^no time that ever comes$/, '没有可到来的时间'],
  [/^slept through$/, '当时未运行'],
  [/^it was due at (.+)$/, (at) => `原定 ${clock(at)}`],
  [/^jobs\.enabled is false$/, '未按时运行：jobs.enabled = false'],
  // What needs a person
  [/^not whole after (\S+)$/, '$1 之后不完整'],
  [/^not whole from the first day on$/, '自首日起不完整'],
  [/^due is (.+)$/, '应到 $1'],
  [/^see which days are missing, and fetch them$/, '查看缺哪些日期并补齐'],
  [/^([\d,]+) slices failed and are tried again$/, '$1 个分片失败，将重试'],
  [/^([\d,]+) slices failed, ([\d,]+) of them for good$/, '$1 个分片失败，其中 $2 个不再重试'],
  [/^retry them, or settle them by hand$/, '重试，或手动了结'],
  [/^([\d,]+) rows differ from the stored ones and wait for a decision$/, '$1 行与库中不同，等待裁决'],
  [/^take the stored or the offered row$/, '保留库中值或采用新值'],
  [/^([\d,]+) rows were refused by a rule and kept apart$/, '$1 行未通过规则，已隔离'],
  [/^look at them$/, '查看它们'],
  [/^ask for their days again$/, '重新查询相应日期'],
  [/^(\S+) is not asked: (.+)$/, '不使用 $1：$2'],
  [/^(\S+) is asked after the others: (.+)$/, '$1 排在其他数据源之后：$2'],
  [/^set its token, or test it under sources$/, '设置令牌，或在数据源页测试'],
  [/^it wins its place back by itself$/, '会自行恢复'],
  [/^(\S+) fails(?:: (.+))?$/, (name, why) => `${name} 故障${why ? `：${why}` : ''}`],
  [/^(\S+) is disabled(?:: (.+))?$/, (name, why) => `${name} 已停用${why ? `：${why}` : ''}`],
  [/^it is tried now and then, and resumed when it answers$/, '定时试探，恢复应答后自动恢复'],
  [/^resume it when its receiver is back, or remove it$/, '接收方恢复后手动恢复，或删除订阅'],
  [/^(\d+) events are set aside$/, '$1 个事件已搁置'],
  [/^(\d+) events have no attempt left and hold up those of their keys$/, '$1 个事件已用尽尝试，并阻塞同键后续事件'],
  [/^retry, park or skip them$/, '重试、搁置或跳过'],
  [/^beyond its threshold: (.+)$/, (metrics) => `超过阈值：${metrics.split(', ').map((one) => one.replace(/^(\w+) \((\w+)\)$/, (_, name, grade) => `${figures[name] ?? name}（${grades[grade] ?? grade}）`)).join('、')}`],
  [/^(\d+) rows differ between (\S+) and (\S+)$/, '$2 与 $3 有 $1 行不同'],
  [/^see the likely causes, and repair the target$/, '查看可能原因并修复目标'],
  [/^see how its deliveries fare$/, '查看其投递情况'],
  // Signatures
  [/^the header (\S+) is missing$/, '缺少请求头 $1'],
  [/^the headers are those of the form (\S+)$/, '请求头属于 $1 方式'],
  [/^the timestamp is no whole number of seconds since 1970$/, '时间戳不是 1970 年以来的整数秒'],
  [/^the timestamp counts milliseconds instead of seconds$/, '时间戳是毫秒，应为秒'],
  [/^the timestamp is (\d+) s old, and (\d+) s are allowed$/, '时间戳距今 $1 秒，允许 $2 秒'],
  [/^the timestamp is (\d+) s ahead of this clock, and (\d+) s are allowed$/, '时间戳比本机超前 $1 秒，允许 $2 秒'],
  [/^the header has no signature of a known version, only of (.+)$/, '请求头中没有已知版本的签名，只有 $1'],
  [/^the header has no signature that can be read$/, '请求头中没有可识别的签名'],
  [/^there is no secret that counts at this time$/, '该时刻没有有效密钥'],
  [/^the secret cannot be used: (.+)$/, '密钥无法使用：$1'],
  [/^the signature is right, but stands under the version (\S+)$/, '签名正确，但标为版本 $1'],
  [/^the text of the secret was used as the key$/, '把密钥的文字当作了签名密钥'],
  [/^the key is what the base64 behind whsec_ decodes to$/, '应使用 whsec_ 之后 base64 解码的结果'],
  [/^the decoded secret was used as the key$/, '使用了解码后的密钥'],
  [/^in this form the key is the secret's text$/, '此方式应使用密钥的文字本身'],
  [/^the secret was used without its prefix$/, '使用密钥时去掉了前缀'],
  [/^in this form the prefix belongs to the key$/, '此方式前缀也是密钥的一部分'],
  [/^it was made with a secret that ended at (.+)$/, (at) => `由 ${clock(at)} 失效的密钥签名`],
  [/^only the body was signed$/, '只签了请求体'],
  [/^this form signs more than the body$/, '此方式签名的不止请求体'],
  [/^id, timestamp and body were not joined by a full stop, or in another order$/, '标识、时间戳、请求体没有用句点连接，或顺序不同'],
  [/^the body was changed after signing: the signature is over (.+)$/, '签名之后请求体被改动：签名针对的是 $1'],
  [/^another secret, or another body, id or timestamp, was signed$/, '密钥不同，或签名时的请求体、标识、时间戳不同'],
];

const cuts = { day: '日', security: '证券', period: '报告期', range: '区间', month: '月' };
const days = { ' on trading days': '（交易日）', ' or the next trading day': '（遇休市顺延）', ' after trading days': '（交易日次日）' };
const cut = (name) => cuts[name] ?? ` ${name} `;
const figures = { success_percent: '成功率', delay_seconds: '延迟', failures: '失败', backlog: '积压', failed_in_a_row: '连续失败', retries: '重试' };
const grades = { info: '提示', warning: '警告', severe: '严重' };
const clock = (at) => at.replace('T', ' ').replace(/(:\d\d)(\.\d+)?\+08:00$/, '$1');

function one(sentence) {
  for (const [pattern, chinese] of listed) {
    const found = pattern.exec(sentence);
    if (found) return typeof chinese === 'string' ? chinese.replace(/\$(\d)/g, (_, at) => found[at] ?? '') : chinese(...found.slice(1));
  }
  return sentence;
}

/** A text of the service, sentence by sentence. */
export const inChinese = (text) => text.split('; ').map(one).join('；');
