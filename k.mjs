
import {readFileSync} from 'node:fs';
import {readRows, encoded, textOf} from '/work/wt/review14/export/js/table.mjs';
const rec=JSON.parse(readFileSync(process.argv[2])); 
try{ const t=textOf(readFileSync(process.argv[3])); const r=encoded(rec, readRows(t,rec)); console.log(JSON.stringify({v:Array.from(r.values),s:r.shape,n:r.notes}));}catch(e){console.log(JSON.stringify({e:String(e)}))}
